"""The four names of one room: a box has no front, so turning it by a quarter changes nothing.

The truth names the axes by the camera (`task_relatedness.truth.manhattan.room_axes`), and so jumps
where two names are equally good, at a yaw of 45 degrees. An answer is therefore compared with all
four, and counts by the nearest.
"""

import math

import torch
from torch import Tensor

_PITCH = math.pi / 4  # the unit of a layout's angles


def equivalents(task: str, truth: Tensor) -> Tensor:
    """Returns what is as true as `truth`, itself first.

    Args:
        task: ``vanishing_point`` or ``room_layout``.
        truth: ``[B, 9]``, see `task_relatedness.truth.manhattan`.

    Returns:
        ``[B, 4, 9]``, for axes turned by 0, 90, 180 and -90 degrees about the vertical one. Yaws
        of layouts go on from the first, without a jump at 180 degrees.

    Raises:
        ValueError: for another task.
    """
    if task == "vanishing_point":
        right, up, forwards = truth.split(3, dim=1)
        axes = ((right, forwards), (forwards, -right), (-right, -forwards), (-forwards, right))
        return torch.stack([torch.cat([r, up, f], dim=1) for r, f in axes], dim=1)
    if task == "room_layout":
        return torch.stack([truth, *(_turned(truth, quarters) for quarters in (1, 2, -1))], dim=1)
    raise ValueError(f"{task} has no quarter turns: expected vanishing_point or room_layout.")


def nearest_squared_errors(task: str, answers: Tensor, truth: Tensor) -> Tensor:
    """Returns the mean squared error of each answer, ``[B]``, to the nearest of `equivalents`."""
    return (answers[:, None] - equivalents(task, truth)).square().mean(2).amin(1)


def _turned(layout: Tensor, quarters: int) -> Tensor:
    """The layouts of the same boxes, whose own axes are turned about the vertical one."""
    centre, angles, sizes = layout.split(3, dim=1)
    sin, cos = (f(angles * _PITCH).unbind(1) for f in (torch.sin, torch.cos))
    zero, one = torch.zeros_like(sin[0]), torch.ones_like(sin[0])
    yaw = _matrices((cos[0], zero, sin[0]), (zero, one, zero), (-sin[0], zero, cos[0]))
    pitch = _matrices((one, zero, zero), (zero, cos[1], -sin[1]), (zero, sin[1], cos[1]))
    roll = _matrices((cos[2], -sin[2], zero), (sin[2], cos[2], zero), (zero, zero, one))
    c, s = (round(f(quarters * math.pi / 2)) for f in (math.cos, math.sin))
    turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]]).to(layout)
    axes = yaw @ pitch @ roll @ turn
    # As `task_relatedness.truth.manhattan.room_layout` takes angles from axes.
    found = torch.stack(
        [
            torch.atan2(axes[:, 0, 2], axes[:, 2, 2]) / _PITCH,
            torch.asin((-axes[:, 1, 2]).clamp(-1, 1)) / _PITCH,
            torch.atan2(axes[:, 1, 0], axes[:, 1, 1]) / _PITCH,
        ],
        dim=1,
    )
    # Eight units are a whole turn: of all yaws that are alike, the one near a turn from the first.
    near = angles[:, 0] + 2 * quarters
    found[:, 0] += 8 * ((near - found[:, 0]) / 8).round()
    if quarters % 2:
        sizes = sizes.flip(1)
    return torch.cat([centre, found, sizes], dim=1)


def _matrices(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
