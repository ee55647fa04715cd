"""Distances of all pairs of encoders at some references, their fields or maps never kept."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from modelgif.distances.cells import channel_mean
from modelgif.distances.pairs import PairSums
from modelgif.loading.preprocessing import Preprocessed
from modelgif.zoo.recipe import Recipe

# Numbers of the fields of all encoders that are in memory at once: 256 MiB of float32.
_BLOCK_NUMBERS = 2**26


class Pairs(NamedTuple):
    """Distances of all pairs of M encoders at n references.

    Attributes:
        per_reference: float64 ``[M, M, n]``.
        zero_cells: of each encoder, int64 ``[M]``.
    """

    per_reference: Tensor
    zero_cells: Tensor


def compare_fields(
    models: Mapping[str, Preprocessed],
    recipe: Recipe,
    rows: slice,
    *,
    average_channels: bool = False,
) -> tuple[Pairs, Pairs]:
    """Returns distances of whole fields, and of their last steps alone, at some references.

    The last step of a cumulative field is the integrated gradient.

    Args:
        models: by name.
        recipe: of cumulative fields.
        rows: which of its references.
        average_channels: whether whole fields are averaged over the colour channels before they are
            compared, see `modelgif.stream_distances`; integrated gradients never are.
    """

    def describe(model: Preprocessed, block: slice) -> tuple[Tensor, Tensor]:
        field = recipe.field(model, block)
        last = field[:, -1:].clone()
        return (channel_mean(field) if average_channels else field), last

    size = recipe.block(_BLOCK_NUMBERS, len(models))
    whole, last = _compare(models, describe, rows, size, n_kinds=2)
    return whole, last


def compare_maps(
    models: Mapping[str, Preprocessed],
    describe: Callable[[Preprocessed, slice], Tensor],
    rows: slice,
    numbers: int,
) -> Pairs:
    """Returns distances of attribution maps at some references.

    Args:
        models: by name.
        describe: gives the maps ``[n, 1, 3, H, W]`` of a model at some references.
        rows: which references.
        numbers: how many a map has.
    """
    size = max(1, _BLOCK_NUMBERS // (len(models) * numbers))
    return _compare(models, lambda m, block: (describe(m, block),), rows, size, n_kinds=1)[0]


def _compare(
    models: Mapping[str, Preprocessed],
    describe: Callable[[Preprocessed, slice], tuple[Tensor, ...]],
    rows: slice,
    size: int,
    *,
    n_kinds: int,
) -> list[Pairs]:
    """Distances by each kind of description that `describe` gives, `size` references at a time."""
    sums = [PairSums(list(models)) for _ in range(n_kinds)]
    kept: list[list[Tensor]] = [[] for _ in sums]
    for first in range(rows.start, rows.stop, size):
        block = slice(first, min(first + size, rows.stop))
        found = [describe(model, block) for model in models.values()]
        for one, parts, descriptions in zip(sums, kept, zip(*found, strict=True), strict=True):
            pairs = one.add(descriptions, keep=True)
            assert pairs is not None
            parts.append(pairs.movedim(0, -1))
        # Not two blocks at once, while the next one is described.
        del found
    return [Pairs(torch.cat(parts, -1), one.zeros) for one, parts in zip(sums, kept, strict=True)]
