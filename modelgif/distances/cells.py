"""Cells: one vector per reference and step, the parts that a distance of fields is made of."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

Metric = Literal["cosine", "euclidean", "cosine_frechet", "euclidean_frechet"]
METRICS: tuple[str, ...] = get_args(Metric)


def finite_cells(
    block: Tensor, name: str, first: int, *, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Returns a block ``[n, S, *input_shape]`` of a field as finite cells ``[n, S, D]``.

    Args:
        block: the field at the references from `first` on.
        name: what to call the field in a message.
        first: position of the block's first reference.
        dtype: of the result.

    Raises:
        ValueError: for a cell that is not finite, naming the field and the reference.
    """
    cells = block.detach().flatten(2).to(dtype)
    check_finite(cells.isfinite().all(2).all(1), name, first)
    return cells


def channel_mean(block: Tensor) -> Tensor:
    """Returns a block ``[n, S, C, ...]`` of a field averaged over its channels, ``[n, S, ...]``.

    Raises:
        ValueError: for a field whose inputs have no channels, or nothing but channels.
    """
    if block.ndim < 4:
        raise ValueError(
            "averaging channels needs inputs of channels and positions, [C, ...], got a field "
            f"{list(block.shape)}."
        )
    return block.mean(2)


def check_finite(finite: Tensor, name: str, references: int | Sequence[str]) -> None:
    """Checks that the field `name` is finite at every reference of a block, as bool ``[n]`` says.

    Args:
        finite: at which references it is.
        name: what to call the field.
        references: position of the first, or the names of all.

    Raises:
        ValueError: naming the field and the first reference where it is not.
    """
    if not finite.all():
        bad = int(finite.logical_not().nonzero()[0].item())
        where = references + bad if isinstance(references, int) else references[bad]
        raise ValueError(
            f"field {name} is not finite (NaN or infinity) at reference {where}: its model's "
            "weights or outputs overflow there; a distance would be meaningless."
        )


def unit_cells(cells: Tensor) -> Tensor:
    """Returns finite cells ``[..., D]`` scaled to length 1; cells that are zero stay zero."""
    return normalise_cells(cells.clone())[0]


def normalise_cells(cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scales cells ``[..., D]`` to length 1 in place, and returns them.

    Returns:
        The cells; which are zero, and stay so, ``[...]``; which are finite, ``[...]``.
    """
    length = torch.linalg.vector_norm(cells, dim=-1, keepdim=True)
    # Squares of tiny and of huge entries leave the range: such cells are first divided by their
    # largest entry. All others are divided by 1, whatever cells are beside them.
    limit = torch.finfo(cells.dtype).max ** 0.4
    extreme = ~((length > 1 / limit) & (length < limit))
    if extreme.any():
        largest = cells.abs().amax(-1, keepdim=True)
        cells /= largest.where(extreme & (largest > 0), 1)
        length = torch.linalg.vector_norm(cells, dim=-1, keepdim=True)
    cells /= length.where(length != 0, 1)
    return cells, (length == 0).squeeze(-1), length.isfinite().squeeze(-1)


def is_zero(cells: Tensor) -> Tensor:
    """Returns which of the cells ``[..., D]`` are zero, and so have no direction."""
    return (cells == 0).all(-1)


def distances_of_cells(a: Tensor, b: Tensor, metric: Metric) -> Tensor:
    """Returns the distances ``[n]`` of cells ``[n, S, D]`` at each reference, in their precision.

    They are the mean over steps, or for the Fréchet metrics the largest. See
    `modelgif.distance`.
    """
    if metric.startswith("euclidean"):
        cells = (a - b).norm(dim=2)
    else:
        # ½‖u - v‖² = 1 - ⟨u, v⟩, without its cancellation: equal cells are at exactly 0.
        cells = ((unit_cells(a) - unit_cells(b)).square().sum(2) / 2).clamp(max=2)
        cells[is_zero(a) ^ is_zero(b)] = 1
    return cells.amax(1) if metric.endswith("frechet") else cells.mean(1)
