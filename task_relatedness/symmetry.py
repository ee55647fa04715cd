"""The four names of one room: a box has no front, so turning it by a quarter changes nothing.

The truth names the axes by the camera (`task_relatedness.truth.manhattan.room_axes`), and so jumps
where two names are equally good, at a yaw of 45 degrees. An answer is therefore compared with all
four, and counts by the nearest.
"""

import torch
from torch import Tensor

# Of a layout's numbers: the yaw, in units of 45 degrees, and the two horizontal sizes.
_YAW, _RIGHT, _BACK = 3, 6, 8
_QUARTERS = (0, 1, 2, -1)


def equivalents(task: str, truth: Tensor) -> Tensor:
    """Returns what is as true as `truth`.

    Args:
        task: ``vanishing_point`` or ``room_layout``.
        truth: ``[B, 9]``, see `task_relatedness.truth.manhattan`.

    Returns:
        ``[B, 4, 9]``, for axes turned by 0, 90, 180 and -90 degrees about the vertical one.

    Raises:
        ValueError: for another task.
    """
    if task == "vanishing_point":
        right, up, forwards = truth.split(3, dim=1)
        axes = ((right, forwards), (forwards, -right), (-right, -forwards), (-forwards, right))
        return torch.stack([torch.cat([r, up, f], dim=1) for r, f in axes], dim=1)
    if task == "room_layout":
        turned = truth[:, None].repeat(1, len(_QUARTERS), 1)
        turned[:, :, _YAW] += 2 * torch.tensor(_QUARTERS).to(truth)
        turned[:, 1::2, [_RIGHT, _BACK]] = truth[:, None, [_BACK, _RIGHT]]
        return turned
    raise ValueError(f"{task} has no quarter turns: expected vanishing_point or room_layout.")


def nearest_squared_errors(task: str, answers: Tensor, truth: Tensor) -> Tensor:
    """Returns the mean squared error of each answer, ``[B]``, to the nearest of `equivalents`."""
    return (answers[:, None] - equivalents(task, truth)).square().mean(2).amin(1)


def central_answer(task: str, truth: Tensor) -> Tensor:
    """Returns the one answer to all rooms that has the least `nearest_squared_errors`, ``[1, 9]``.

    The mean of the truth, once each room goes by that of its names which is nearest to this mean:
    found from the mean of the names as given, by renaming and averaging in turns, each of which
    can only lower the error.

    Args:
        task: as in `equivalents`.
        truth: of all rooms, ``[B, 9]``.
    """
    names, centre = equivalents(task, truth), truth.mean(0, keepdim=True)
    rooms = torch.arange(len(truth), device=truth.device)
    renamed = None
    while True:
        nearest = (names - centre).square().sum(2).argmin(1)
        if renamed is not None and torch.equal(nearest, renamed):
            return centre
        renamed, centre = nearest, names[rooms, nearest].mean(0, keepdim=True)
