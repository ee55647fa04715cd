"""Random draws of rows with equal shares of the classes."""

import torch
from torch import Tensor


def balanced_rows(
    labels: Tensor, count: int | None, *, generator: torch.Generator, what: str
) -> Tensor:
    """Returns `count` random rows, ascending, as evenly spread over the classes as possible.

    Args:
        labels: of the rows to draw from, ``[N]``.
        count: how many; None for all.
        generator: CPU generator of the draw.
        what: is drawn, for messages.

    Raises:
        ValueError: when there are not so many, or a class would get none.
    """
    if count is not None and count > len(labels):
        raise ValueError(
            f"{what} must be at most {len(labels)}, the images there are, got {count}."
        )
    classes = labels.unique()
    if count is not None and count < len(classes):
        raise ValueError(f"{what} must be at least {len(classes)}, one per class, got {count}.")
    if count is None:
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=generator)
    # Taking turns: the first of each class, then the second of each, and so on.
    turn = torch.empty(len(labels), dtype=torch.int64)
    for label in classes:
        own = labels[order] == label
        turn[own] = torch.arange(int(own.sum()))
    return order[turn.argsort(stable=True)[:count]].sort().values


def split_within_classes(
    labels: Tensor, share: float, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Returns the rows that stay and those set apart: `share` of each class, at least one.

    Args:
        labels: ``[N]``.
        share: to set apart; at least one of each class stays.
        generator: CPU generator of the draw.

    Raises:
        ValueError: for a class with a single row.
    """
    kept, apart = [], []
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        if len(rows) < 2:
            raise ValueError(
                f"class {int(label)} has a single image, and choosing by validation images needs "
                "two or more of each class: raise n_train."
            )
        rows = rows[torch.randperm(len(rows), generator=generator)]
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        apart.append(rows[:count])
        kept.append(rows[count:])
    return torch.cat(kept).sort().values, torch.cat(apart).sort().values
