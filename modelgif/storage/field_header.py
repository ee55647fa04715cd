"""What a field store says about its field."""

from dataclasses import dataclass, field, fields
from typing import Literal, get_args, get_origin

SCHEMA_VERSION = 1
Storage = Literal["float32", "float64", "float16_scaled"]

# Attributes that HDF5 holds as JSON.
MAPPINGS = ("preprocessing", "versions")
# What two fields must share for their distance to mean anything.
COMPARABLE = (
    "references_sha256",
    "target",
    "baseline",
    "rule",
    "n_steps",
    "cumulative",
    "scale_by_path",
)


class StoreError(ValueError):
    """A file that is not a whole, sound field store, or stores that must not be compared."""


@dataclass(frozen=True)
class FieldHeader:
    """What a field store says about its field.

    Attributes:
        model: address or name of the model.
        weights_sha256: of its weights, see `modelgif.storage.digest.tensors_sha256`.
        target: name of the differentiated scalar, see `modelgif.fields.target.Target`.
        baseline: what the path starts from, in words or as a number.
        rule: quadrature rule.
        n_steps: nodes on the path.
        cumulative: whether steps accumulate.
        scale_by_path: whether the field is multiplied by ``x - x'``.
        dtype: precision in which the field was computed.
        storage: how it is stored; ``float16_scaled`` keeps each cell's largest magnitude apart and
            is accurate to 5e-4 of it.
        references_sha256: of the references and their ids.
        config_sha256: of the configuration that asked for the field; empty without one.
        versions: of the libraries that computed it.
        preprocessing: that is part of the model: mean, std and size as far as it has them.
    """

    model: str
    weights_sha256: str
    target: str
    baseline: str
    rule: str
    n_steps: int
    cumulative: bool
    scale_by_path: bool
    dtype: str
    storage: Storage
    references_sha256: str
    config_sha256: str
    versions: dict[str, str]
    preprocessing: dict[str, list[float]] = field(default_factory=dict)


def check_types(header: FieldHeader) -> None:
    """Checks that each value of a header that was read is of its type.

    Raises:
        ValueError: naming one that is not.
    """
    for entry in fields(header):
        value = getattr(header, entry.name)
        if entry.name == "storage":
            sound = value in get_args(Storage)
        else:
            # A Boolean is an int, too.
            sound = type(value) is (get_origin(entry.type) or entry.type)
        if not sound:
            raise ValueError(f"its {entry.name} is {str(value)[:80]!r}")
