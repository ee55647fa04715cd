"""How far apart two trained models are in function: gradient fields and their distances.

A model is described by its gradient field at shared reference points; the distance of two models is
one minus the mean cosine of their fields.
"""

from modelgif import ranking, verdict
from modelgif.distance import distance, distance_per_reference, pairwise_distances, zero_cells
from modelgif.distance_matrix import DistanceMatrix, distance_matrix
from modelgif.extract import Extraction, extract
from modelgif.field import gradient_field
from modelgif.index import SketchIndex
from modelgif.loading import load_model
from modelgif.quadrature import quadrature
from modelgif.reference import References, cutmix, derangement, random_references
from modelgif.reference_file import read_references, write_references
from modelgif.sketch import Sketch, estimate_distance
from modelgif.sketcher import sketch_model
from modelgif.store import FieldStore, check_comparable
from modelgif.stream import StreamedDistances, stream_distances
from modelgif.target import Target, resolve_target

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
