"""Distances between gradient fields.

A field ``[N, S, *input_shape]`` has ``N·S`` *cells*, one vector per reference and step. Cells are
compared one by one and averaged, in float64. A cell of zero norm has no direction: two such cells
are at cosine distance 0, one of them beside another cell at 1, and they are counted in a warning.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from modelgif.distances.cells import METRICS, Metric, distances_of_cells, finite_cells, is_zero
from modelgif.distances.pairs import PairSums, ZeroCellWarning, warn_of_zero_cells

__all__ = [
    "METRICS",
    "Field",
    "Metric",
    "ZeroCellWarning",
    "distance",
    "distance_per_reference",
    "pairwise_distances",
    "zero_cells",
]

# Numbers of fields held at once while a block of references is compared: 256 MiB in float64.
_BLOCK_NUMBERS = 2**25


class Field(Protocol):
    """Anything that gives its field by blocks of references: a tensor, or a field store."""

    @property
    def shape(self) -> Sequence[int]:
        """``(N, S, *input_shape)``."""
        ...

    def __getitem__(self, rows: slice, /) -> Tensor:
        """The field ``[n, S, *input_shape]`` of some references."""
        ...


def distance(a: Field, b: Field, *, metric: Metric = "cosine") -> float:
    """Returns the distance of two fields of the same references, in [0, 2] for the cosine metrics.

    - ``cosine``: mean over references and steps of ``1 - cos`` (ModelGiF, section 3)
    - ``euclidean``: mean over references and steps of the Euclidean norm of the difference
    - ``cosine_frechet``, ``euclidean_frechet``: mean over references of the *largest* of these
      over steps, that is, the length of the longest leash when both walk their paths in step

    Zero and non-finite cells are treated as in `pairwise_distances`, which also gives the errors.

    Example:
        >>> a = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
        >>> b = torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])
        >>> distance(a, b)
        0.5
    """
    return distance_per_reference(a, b, metric=metric).mean().item()


def distance_per_reference(a: Field, b: Field, *, metric: Metric = "cosine") -> Tensor:
    """Returns the contribution of each reference to `distance`, float64 ``[N]``, whose mean it is.

    Raises:
        ValueError: as `pairwise_distances`.

    Example:
        >>> a = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]])
        >>> b = torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])
        >>> distance_per_reference(a, b).tolist()
        [0.0, 1.0]
    """
    _check(metric, [a, b])
    names, zeros, parts = ["a", "b"], [0, 0], []
    for rows in _blocks([a, b]):
        cells = [
            finite_cells(f[rows], name, rows.start) for f, name in zip((a, b), names, strict=True)
        ]
        zeros = [z + int(is_zero(c).sum()) for z, c in zip(zeros, cells, strict=True)]
        parts.append(distances_of_cells(cells[0], cells[1], metric))
    warn_of_zero_cells(zeros, names, a.shape[0] * a.shape[1])
    return torch.cat(parts)


def pairwise_distances(
    fields: Sequence[Field],
    *,
    metric: Metric = "cosine",
    names: Sequence[str] | None = None,
    product_dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Returns the distances of all pairs of `fields`, float64 ``[M, M]``, symmetric, zero diagonal.

    With every cell scaled to length ``1/√(N·S)``, a model is one unit vector u, and the cosine
    distance is ``1 - ⟨u_A, u_B⟩``: all pairs are one matrix product, accumulated over blocks of
    references. √(2D) is a metric. Fields may be tensors or field stores; of stores, only a
    block of references is in memory at a time.

    Args:
        fields: M fields of one shape ``[N, S, *input_shape]`` and the same references.
        metric: as in `distance`.
        names: what to call the fields in messages; by default their positions.
        product_dtype: precision of the products of the cosine metric, which are summed in float64.
            With float32 it is faster, and a distance is right to 1e-6, however small it is.

    Raises:
        ValueError: for no fields, shapes that do not match, an unknown metric, or a cell that is
            not finite; the message names the field and the reference.

    Warns:
        ZeroCellWarning: when a field has zero cells, with their number.

    Example:
        >>> fields = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]).reshape(3, 1, 1, 2)
        >>> pairwise_distances(list(fields), names=["a", "b", "c"]).tolist()
        [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]
    """
    names = [str(i) for i in range(len(fields))] if names is None else list(names)
    if not fields or len(names) != len(fields):
        raise ValueError(
            f"expected one name per field, got {len(fields)} fields, {len(names)} names."
        )
    _check(metric, fields)
    sums = PairSums(names, metric=metric, product_dtype=product_dtype)
    for rows in _blocks(fields):
        sums.add([field[rows] for field in fields])
    warn_of_zero_cells(sums.zeros.tolist(), names, sums.n_references * fields[0].shape[1])
    return sums.distances()


def zero_cells(field: Field) -> int:
    """Returns how many of the field's ``N·S`` cells are zero, and so have no direction.

    Raises:
        ValueError: as `pairwise_distances`.

    Example:
        >>> zero_cells(torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]))
        1
    """
    _check("cosine", [field])
    return sum(int(is_zero(finite_cells(field[r], "", r.start)).sum()) for r in _blocks([field]))


def _blocks(fields: Sequence[Field]) -> list[slice]:
    n_references, *rest = fields[0].shape
    size = max(1, _BLOCK_NUMBERS // max(1, len(fields) * torch.Size(rest).numel()))
    return [slice(i, min(i + size, n_references)) for i in range(0, n_references, size)]


def _check(metric: Metric, fields: Sequence[Field]) -> None:
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}.")
    shapes = {tuple(field.shape) for field in fields}
    if len(shapes) > 1:
        raise ValueError(
            "fields must have one shape [N, S, *input_shape], the same references and steps, "
            f"got {', '.join(map(str, sorted(shapes)))}."
        )
    (shape,) = shapes
    if len(shape) < 3 or 0 in shape:
        raise ValueError(f"a field must be a non-empty [N, S, *input_shape], got {list(shape)}.")
