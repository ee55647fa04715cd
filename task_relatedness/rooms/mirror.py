"""Rooms as a mirror shows them: other rooms, as good as rendered ones, and their truth is known."""

import torch
from torch import Tensor

from task_relatedness.tasks import Task

# What a mirror turns round of numbers that are no picture: see
# `task_relatedness.rooms.truth.manhattan`.
_SIGNS = {
    "normal": (-1, 1, 1),
    "vanishing_point": (-1, 1, 1, 1, -1),
    "room_layout": (-1, 1, 1, 1, -1, 1, -1, 1, 1, 1, -1),
}


def mirrored(task: Task, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Returns rooms with left and right exchanged.

    Args:
        task: whose truth it is.
        images: ``[N, 3, H, W]``.
        targets: of `task`, see `task_relatedness.rooms.data_set.Rooms`.
    """
    if task.form in ("image", "semantic", "segments"):
        targets = targets.flip(-1)
    signs = _SIGNS.get(task.name)
    if signs is not None:
        places = (1, -1, *(1 for _ in range(targets.ndim - 2)))
        targets = targets * torch.tensor(signs, device=targets.device).reshape(places)
    return images.flip(-1), targets


def mirrored_at_random(
    task: Task, images: Tensor, targets: Tensor, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Returns rooms of which each is `mirrored` with probability 1/2; CPU `generator` decides."""
    which = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    pairs = zip(mirrored(task, images, targets), (images, targets), strict=True)
    seen, truth = (
        torch.where(which.reshape(-1, *(1 for _ in range(a.ndim - 1))), a, b) for a, b in pairs
    )
    return seen, truth
