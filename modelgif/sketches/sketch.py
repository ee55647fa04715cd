"""Sketches: fingerprints of fixed size, from which distances are estimated.

With every cell of its field scaled to length 1/√(N·S), a model is one unit vector u, and
D = 1 − ⟨u_A, u_B⟩. A sketch is a random projection of u, see
`modelgif.sketches.random_projection`; a zero cell is one more coordinate, so that two of them are
alike. `modelgif.sketches.sketcher` makes sketches. The usual one, 163 840 signs in 20 KiB, keeps
any distance within 0.01 with a probability of 99 %, and near ones closer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modelgif.distances.pairs import warn_of_zero_cells
from modelgif.sketches.cosine_estimate import (
    NumberFormat,
    count_differing,
    estimate_from_numbers,
    estimate_from_signs,
    interval,
)
from modelgif.storage.field_header import COMPARABLE, FieldHeader

# Of sketches that are compared at once: what a processor's cache holds.
_BYTES_AT_ONCE = 2**20
# What two sketches must share beside their fields' `COMPARABLE`, by the key that files have for it.
_OF_THE_SKETCH = {"size": "size", "seed": "seed", "precision": "number_format"}


class SketchError(ValueError):
    """Sketches that must not be compared, or a field that cannot be sketched."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """A model's fingerprint.

    Attributes:
        field: what it is the fingerprint of, as a field store says it.
        size: numbers, or signs, of the projection.
        seed: of the projection.
        number_format: of the values: ``float32``, ``float16``, or ``sign``, one bit per number.
        values: ``[size]``; for signs uint8 ``[size / 8]``.
        zero_cells: how many cells of the field are zero, and so have no direction.
    """

    field: FieldHeader
    size: int
    seed: int
    number_format: NumberFormat
    values: Tensor
    zero_cells: int = 0

    @property
    def n_bytes(self) -> int:
        """How much memory the values take."""
        return self.values.numel() * self.values.element_size()

    def comparable(self) -> dict[str, Any]:
        """Returns what two sketches must share for their distance to mean anything."""
        return {name: getattr(self.field, name) for name in COMPARABLE} | {
            key: getattr(self, name) for key, name in _OF_THE_SKETCH.items()
        }


class Estimate(NamedTuple):
    """An estimated distance, and the interval that holds the true one."""

    distance: float
    low: float
    high: float


def estimate_distance(a: Sketch, b: Sketch, *, confidence: float = 0.995) -> Estimate:
    """Returns the estimated distance of two models, and an interval for the true one.

    The interval holds the distance of the fields with probability `confidence`, over seeds; on
    fields of trained models, 99.5 % intervals have been seen to hold in 99 % of pairs and more, see
    ``benchmarks/results/sketch.csv``.

    Raises:
        SketchError: when the sketches cannot be compared, naming what differs.
        ValueError: for a confidence outside (0, 1).

    Warns:
        modelgif.distances.pairs.ZeroCellWarning: when a field has zero cells, with their number.

    Example:
        >>> from modelgif.sketches.sketcher import sketch_model
        >>> references = torch.linspace(0, 1, 12).reshape(2, 1, 2, 3)
        >>> a = sketch_model(torch.nn.Flatten(), references, n_steps=5)
        >>> estimate = estimate_distance(a, a)
        >>> estimate.distance, estimate.high < 1e-3
        (0.0, True)
    """
    check_comparable_sketches(a, b)
    _warn([a, b])
    distance = estimated_distances(a.values[None], b.values[None], a.size)
    low, high = interval(distance, a.size, a.number_format, confidence)
    return Estimate(distance.item(), low.item(), high.item())


def estimate_distances(sketches: Sequence[Sketch]) -> Tensor:
    """Returns the estimated distances of all pairs, float64 ``[M, M]``, zero diagonal.

    Raises:
        SketchError: for no sketches, or ones that cannot be compared, naming what differs.

    Warns:
        modelgif.distances.pairs.ZeroCellWarning: when a field has zero cells, with their number.
    """
    if not sketches:
        raise SketchError("expected at least one sketch, got none.")
    for sketch in sketches[1:]:
        check_comparable_sketches(sketches[0], sketch)
    _warn(sketches)
    values = torch.stack([sketch.values for sketch in sketches])
    return estimated_distances(values, values, sketches[0].size).double().fill_diagonal_(0)


def _warn(sketches: Sequence[Sketch]) -> None:
    zeros = [sketch.zero_cells for sketch in sketches]
    warn_of_zero_cells(zeros, [sketch.field.model for sketch in sketches])


def estimated_distances(x: Tensor, y: Tensor, size: int) -> Tensor:
    """Returns the estimated distances ``[A, B]`` of the values of A and B sketches, as rows."""
    if x.dtype != torch.uint8:
        return estimate_from_numbers(x, y)
    # Some pairs at a time: no table of A · B sketches.
    parts = y.split(max(1, _BYTES_AT_ONCE // y.shape[1]))
    differing = [torch.cat([count_differing(row, part) for part in parts]) for row in x]
    return estimate_from_signs(torch.stack(differing), size)


def check_comparable_sketches(a: Sketch, b: Sketch) -> None:
    """Checks that two sketches are of comparable fields, by the same projection.

    Raises:
        SketchError: naming the models and what differs.
    """
    differs = difference(a.comparable(), b.comparable())
    if differs is not None:
        raise SketchError(
            f"the sketches of {a.field.model} and {b.field.model} cannot be compared: {differs}. "
            "Make both with the same references and settings."
        )


def difference(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """Returns in words the first entry of `Sketch.comparable` that differs, or None."""
    for name, value in one.items():
        if value != other.get(name):
            shown = _OF_THE_SKETCH.get(name, name)
            return f"their {shown} differ, {value!r} and {other.get(name)!r}"
    return None
