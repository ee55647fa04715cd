"""Distances of all pairs of fields, summed up block by block of references."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from modelgif.distances.cells import (
    Metric,
    check_finite,
    distances_of_cells,
    finite_cells,
    is_zero,
    normalise_cells,
)

# Numbers that a product takes at once: few enough for a processor's cache, and on another device
# enough to fill it.
_PRODUCT_NUMBERS = {"cpu": 2**21}
_PRODUCT_NUMBERS_ELSEWHERE = 2**26


class ZeroCellWarning(UserWarning):
    """Some cells of a compared field are zero, so that their direction is undefined."""


def warn_of_zero_cells(
    zeros: Sequence[int], names: Sequence[str], n_cells: int | None = None
) -> None:
    """Warns the caller's caller of fields that have zero cells, with their number."""
    counts = [f"{name}: {count}" for name, count in zip(names, zeros, strict=True) if count]
    if counts:
        among = "" if n_cells is None else f" among {n_cells}"
        warnings.warn(
            f"zero cells{among} in field {', '.join(counts)}: the target does not depend "
            "on the input there, so these cells say nothing about function.",
            ZeroCellWarning,
            stacklevel=3,
        )


class PairSums:
    """Sums over references of the distances of all pairs among M fields, in float64.

    With every cell scaled to length 1, the cosines of all pairs at a reference are one matrix
    product. Feeding the blocks in another partition changes the sums by rounding only.

    Args:
        names: what to call the M fields in messages.
        metric: as in `modelgif.distance`.
        product_dtype: precision of the products of the cosine metric; sums of products are float64.

    Attributes:
        total: float64 ``[M, M]``: the sum so far of cosines, or of distances for other metrics.
        zeros: int64 ``[M]``: zero cells seen so far.
        n_references: references seen so far.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        metric: Metric = "cosine",
        product_dtype: torch.dtype = torch.float64,
    ) -> None:
        self.names, self.product_dtype = list(names), product_dtype
        self.metric: Metric = metric
        self.total = torch.zeros(len(self.names), len(self.names), dtype=torch.float64)
        self.zeros = torch.zeros(len(self.names), dtype=torch.int64)
        self.n_references = 0

    def add(self, blocks: Sequence[Tensor], *, keep: bool = False) -> Tensor | None:
        """Adds the next references; with `keep` returns their distances, float64 ``[n, M, M]``.

        Args:
            blocks: of each of the M fields, its part ``[n, S, *input_shape]`` at the same
                references, all on one device.
            keep: whether distances at single references are wanted.

        Raises:
            ValueError: for a cell that is not finite, naming the field and the reference.
        """
        blocks = [block.detach().flatten(2) for block in blocks]
        kept = self.total.new_zeros(len(blocks[0]), *self.total.shape) if keep else None
        (self._add_cosines if self.metric == "cosine" else self._add_pairs)(blocks, kept)
        self.n_references += len(blocks[0])
        return None if kept is None else _distances(kept, self.metric)

    def distances(self) -> Tensor:
        """Returns the mean distances of all pairs so far, ``[M, M]``, symmetric, zero diagonal."""
        means = self.total / self.n_references
        return _distances(means, self.metric)

    def _add_cosines(self, blocks: Sequence[Tensor], kept: Tensor | None) -> None:
        (n_references, n_steps, size), device = blocks[0].shape, blocks[0].device
        total, zeros = self.total.to(device, copy=True), self.zeros.to(device, copy=True)
        for rows, steps in self._parts(n_references, n_steps, size, device.type):
            # [M, n, s, D]
            cells = torch.stack([block[rows, steps] for block in blocks]).to(self.product_dtype)
            unit, zero, finite = normalise_cells(cells)
            self._check_finite(finite, rows.start)
            zeros += zero.sum((1, 2))
            unit, zero = unit.flatten(2).transpose(0, 1), zero.to(unit.dtype).transpose(0, 1)
            # Two zero cells are alike, as two cells of one direction are.
            cosines = (unit @ unit.mT + zero @ zero.mT).double() / n_steps
            total += cosines.sum(0)
            if kept is not None:
                kept[rows] += cosines.cpu()
        self.total, self.zeros = total.cpu(), zeros.cpu()

    def _add_pairs(self, blocks: Sequence[Tensor], kept: Tensor | None) -> None:
        cells = [
            finite_cells(block, name, self.n_references)
            for block, name in zip(blocks, self.names, strict=True)
        ]
        for i, j in torch.combinations(torch.arange(len(cells))).tolist():
            distances = distances_of_cells(cells[i], cells[j], self.metric).cpu()
            self.total[i, j] += distances.sum()
            self.total[j, i] = self.total[i, j]
            if kept is not None:
                kept[:, i, j] = kept[:, j, i] = distances
        self.zeros += torch.tensor([int(is_zero(c).sum()) for c in cells])

    def _parts(
        self, n_references: int, n_steps: int, size: int, device: str
    ) -> list[tuple[slice, slice]]:
        """Some references with all steps, or one reference with some steps, at a time."""
        numbers = _PRODUCT_NUMBERS.get(device, _PRODUCT_NUMBERS_ELSEWHERE)
        n_cells = max(1, numbers // (len(self.names) * size))
        # The results of many small references need room, too.
        n_rows = min(n_cells // n_steps, max(1, numbers // len(self.names) ** 2))
        if n_rows >= 1:
            everything = slice(None)
            return [
                (slice(r, min(r + n_rows, n_references)), everything)
                for r in range(0, n_references, n_rows)
            ]
        return [
            (slice(r, r + 1), slice(k, k + n_cells))
            for r in range(n_references)
            for k in range(0, n_steps, n_cells)
        ]

    def _check_finite(self, finite: Tensor, row: int) -> None:
        """Checks cells ``[M, n, s]``."""
        if not finite.all():
            for of_model, name in zip(finite.all(2), self.names, strict=True):
                check_finite(of_model, name, self.n_references + row)


def _distances(values: Tensor, metric: Metric) -> Tensor:
    """Distances ``[..., M, M]`` from mean cosines, or from mean distances of other metrics."""
    # A matrix product need not round both triangles alike.
    values = (values + values.mT) / 2
    if metric == "cosine":
        values = (1 - values).clamp(0, 2)
    values.diagonal(dim1=-2, dim2=-1).zero_()
    return values
