"""How far apart two trained models are in function: gradient fields and their distances.

A model is described by its gradient field at shared reference points; the distance of two models is
one minus the mean cosine of their fields.
"""

from modelgif import ranking, verdict
from modelgif.distances.distance import (
    distance,
    distance_per_reference,
    pairwise_distances,
    zero_cells,
)
from modelgif.fields.gradient_field import gradient_field
from modelgif.fields.quadrature import quadrature
from modelgif.fields.target import Target, resolve_target
from modelgif.loading.load import load_model
from modelgif.references.file import read_references, write_references
from modelgif.references.references import References, cutmix, derangement, random_references
from modelgif.reporting.distance_matrix import DistanceMatrix, distance_matrix
from modelgif.sketches.index import SketchIndex
from modelgif.sketches.sketch import Sketch, estimate_distance
from modelgif.sketches.sketcher import sketch_model
from modelgif.storage.field_store import FieldStore, check_comparable
from modelgif.zoo.extract import Extraction, extract
from modelgif.zoo.stream import StreamedDistances, stream_distances

__all__ = [
    "DistanceMatrix",
    "Extraction",
    "FieldStore",
    "References",
    "Sketch",
    "SketchIndex",
    "StreamedDistances",
    "Target",
    "check_comparable",
    "cutmix",
    "derangement",
    "distance",
    "distance_matrix",
    "distance_per_reference",
    "estimate_distance",
    "extract",
    "gradient_field",
    "load_model",
    "pairwise_distances",
    "quadrature",
    "random_references",
    "ranking",
    "read_references",
    "resolve_target",
    "sketch_model",
    "stream_distances",
    "verdict",
    "write_references",
    "zero_cells",
]
