"""How far apart two trained models are in function: gradient fields and their distances.

A model is described by its gradient field at shared reference points; the distance of two models is
one minus the mean cosine of their fields. What is named here is imported when it is first used, so
that ``import modelgif`` itself takes no time.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelgif import lineage, methods, ranking, transferability, verdict
    from modelgif.distances.distance import (
        distance,
        distance_per_reference,
        pairwise_distances,
        zero_cells,
    )
    from modelgif.distances.pairs import ZeroCellWarning
    from modelgif.fields.acceleration import Acceleration
    from modelgif.fields.features import penultimate_features
    from modelgif.fields.function_check import function_check
    from modelgif.fields.gradient_check import gradient_check
    from modelgif.fields.gradient_field import gradient_field
    from modelgif.fields.quadrature import quadrature
    from modelgif.fields.target import Target, resolve_target
    from modelgif.loading.checkpoint import read_checkpoint, write_checkpoint
    from modelgif.loading.load import load_model
    from modelgif.references.examination import examine_references
    from modelgif.references.file import read_references, write_references
    from modelgif.references.references import References, cutmix, derangement, random_references
    from modelgif.reporting.distance_matrix import DistanceMatrix, distance_matrix
    from modelgif.sketches.approximate import Nearby
    from modelgif.sketches.index import SketchIndex
    from modelgif.sketches.sketch import Sketch, estimate_distance
    from modelgif.sketches.sketcher import sketch_model
    from modelgif.storage.field_store import FieldStore, StoreError, check_comparable
    from modelgif.zoo.extract import Extraction, extract
    from modelgif.zoo.stream import StreamedDistances, stream_distances

__all__ = [
    "Acceleration",
    "DistanceMatrix",
    "Extraction",
    "FieldStore",
    "Nearby",
    "References",
    "Sketch",
    "SketchIndex",
    "StoreError",
    "StreamedDistances",
    "Target",
    "ZeroCellWarning",
    "check_comparable",
    "cutmix",
    "derangement",
    "distance",
    "distance_matrix",
    "distance_per_reference",
    "estimate_distance",
    "examine_references",
    "extract",
    "function_check",
    "gradient_check",
    "gradient_field",
    "lineage",
    "load_model",
    "methods",
    "pairwise_distances",
    "penultimate_features",
    "quadrature",
    "random_references",
    "ranking",
    "read_checkpoint",
    "read_references",
    "resolve_target",
    "sketch_model",
    "stream_distances",
    "transferability",
    "verdict",
    "write_checkpoint",
    "write_references",
    "zero_cells",
]

_PACKAGES = ("lineage", "methods", "ranking", "transferability", "verdict")
# The imports above, for when they are made.
_MODULES = {
    "distances.distance": (
        "distance",
        "distance_per_reference",
        "pairwise_distances",
        "zero_cells",
    ),
    "distances.pairs": ("ZeroCellWarning",),
    "fields.acceleration": ("Acceleration",),
    "fields.features": ("penultimate_features",),
    "fields.function_check": ("function_check",),
    "fields.gradient_check": ("gradient_check",),
    "fields.gradient_field": ("gradient_field",),
    "fields.quadrature": ("quadrature",),
    "fields.target": ("Target", "resolve_target"),
    "loading.checkpoint": ("read_checkpoint", "write_checkpoint"),
    "loading.load": ("load_model",),
    "references.examination": ("examine_references",),
    "references.file": ("read_references", "write_references"),
    "references.references": ("References", "cutmix", "derangement", "random_references"),
    "reporting.distance_matrix": ("DistanceMatrix", "distance_matrix"),
    "sketches.approximate": ("Nearby",),
    "sketches.index": ("SketchIndex",),
    "sketches.sketch": ("Sketch", "estimate_distance"),
    "sketches.sketcher": ("sketch_model",),
    "storage.field_store": ("FieldStore", "StoreError", "check_comparable"),
    "zoo.extract": ("Extraction", "extract"),
    "zoo.stream": ("StreamedDistances", "stream_distances"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return importlib.import_module(f"modelgif.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'modelgif' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"modelgif.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
