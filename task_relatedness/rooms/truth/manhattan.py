"""The room's axes and its box, as the camera sees them.

A room has no front: turned by a quarter it is the same room, and each of four names for its
horizontal axes is as good as another. What is told of it are therefore numbers that do not depend
on the name, and that change smoothly as the camera turns.
"""

from itertools import product

import numpy as np

_METRES = 4.0
_PITCH = np.pi / 4


def room_axes(rotation: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Returns the room's axes in the camera's frame, and which of the world's axes each is.

    One name of four: of the horizontal directions, backwards is nearest to the direction to the
    viewer, right is to its right, and up is up. This leaves a yaw of about -45 to 45 degrees.

    Args:
        rotation: ``[3, 3]`` from the camera to the world.

    Returns:
        ``[3, 3]`` with the unit vectors right, up, backwards as columns, right-handed; and the
        numbers of the world's axes they lie along.
    """
    # Rows of `rotation` are the world's axes in the camera's frame.
    x, y, up = rotation
    horizontal = [(x, 0), (y, 1), (-x, 0), (-y, 1)]
    back, along = max(horizontal, key=lambda pair: float(pair[0][2]))
    return np.stack([np.cross(up, back), up, back], axis=1), (1 - along, 2, along)


def vanishing_points(rotation: np.ndarray) -> np.ndarray:
    """Returns where parallel lines of the room meet, ``[5]``, see `axes_of`.

    The unit vector ``[3]`` towards the vanishing point of what is upright, and the cosine and the
    sine of four times the yaw, which say where the two horizontal ones are, whichever is which.

    Args:
        rotation: ``[3, 3]`` from the camera to the world.
    """
    axes, _ = room_axes(rotation)
    _, _, yaw = _angles(axes)
    return np.concatenate([axes[:, 1], _cos_sin(4 * yaw)])


def axes_of(points: np.ndarray) -> np.ndarray:
    """Returns unit vectors right, up and backwards as columns ``[3, 3]`` of `vanishing_points`."""
    up = points[:3]
    yaw = np.arctan2(points[4], points[3]) / 4
    return _tilt(*_pitch_and_roll(up)) @ _turn(yaw)


def room_layout(
    position: np.ndarray, rotation: np.ndarray, extents: tuple[float, float, float]
) -> np.ndarray:
    """Returns the room's box in the camera's frame, ``[11]``, each number about in [-1, 1].

    What Taskonomy's layout tells, the box's centre, three angles and three sizes, under no name.
    Turned by yaw about y, then by roll about z, then by pitch about x, a vector in the box's frame
    is one in the camera's: ``R = Rx(pitch) Rz(roll) Ry(yaw)``. In order:

    - centre x, y, z, in units of 4 m
    - pitch, roll, in units of 45 degrees
    - cosine and sine of four times the yaw
    - height, and the mean of the horizontal sizes, as ``size / 4 m - 1``
    - the first horizontal size less the second in units of 4 m, times the cosine and the sine of
      twice the yaw: at a quarter turn both factors change their sign

    Args:
        position: ``[3]`` of the camera in the world.
        rotation: ``[3, 3]`` from the camera to the world.
        extents: of the room along the world's axes in metres.
    """
    axes, along = room_axes(rotation)
    centre = rotation.T @ (np.array([0.0, 0.0, 0.5 * extents[2]]) - position)
    pitch, roll, yaw = _angles(axes)
    width, height, depth = (extents[axis] / _METRES for axis in along)
    return np.concatenate(
        [
            centre / _METRES,
            np.array([pitch, roll]) / _PITCH,
            _cos_sin(4 * yaw),
            [height - 1.0, 0.5 * (width + depth) - 1.0],
            (width - depth) * _cos_sin(2 * yaw),
        ]
    )


def box_corners(layout: np.ndarray) -> np.ndarray:
    """Returns the eight corners ``[8, 3]``, in the camera's frame in metres, of a `room_layout`.

    In the order of ``itertools.product((-1, 1), repeat=3)`` along right, up and backwards.
    """
    centre, (pitch, roll), fourfold = layout[:3], layout[3:5] * _PITCH, layout[5:7]
    (height, mean), twofold = layout[7:9] + 1.0, layout[9:]
    yaw = np.arctan2(fourfold[1], fourfold[0]) / 4
    half_difference = 0.5 * twofold @ _cos_sin(2 * yaw)
    half = 0.5 * _METRES * np.array([mean + half_difference, height, mean - half_difference])
    corners = np.array(list(product((-1, 1), repeat=3))) * half
    return _METRES * centre + corners @ (_tilt(pitch, roll) @ _turn(yaw)).T


def _angles(axes: np.ndarray) -> tuple[float, float, float]:
    """Pitch, roll and yaw of axes ``[3, 3]``; pitch and roll are the camera's alone."""
    pitch, roll = _pitch_and_roll(axes[:, 1])
    right, _, back = (_tilt(pitch, roll).T @ axes).T
    return pitch, roll, float(np.arctan2(back[0], right[0]))


def _pitch_and_roll(up: np.ndarray) -> tuple[float, float]:
    return float(np.arctan2(up[2], up[1])), float(np.arcsin(np.clip(-up[0], -1.0, 1.0)))


def _cos_sin(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _tilt(pitch: float, roll: float) -> np.ndarray:
    """Returns ``Rx(pitch) Rz(roll)``."""
    (cos_p, cos_r), (sin_p, sin_r) = (f([pitch, roll]) for f in (np.cos, np.sin))
    turn_x = np.array([[1, 0, 0], [0, cos_p, -sin_p], [0, sin_p, cos_p]])
    return turn_x @ np.array([[cos_r, -sin_r, 0], [sin_r, cos_r, 0], [0, 0, 1]])


def _turn(yaw: float) -> np.ndarray:
    """Returns ``Ry(yaw)``."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
