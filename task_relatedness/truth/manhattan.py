"""The room's axes and its box, as the camera sees them."""

from itertools import product

import numpy as np

_METRES = 4.0
_PITCH = np.pi / 4


def room_axes(rotation: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Returns the room's axes in the camera's frame, and which of the world's axes each is.

    A room has no front. The axes are therefore named by how the camera sees them: of the four
    horizontal directions, backwards is nearest to the direction to the viewer, right is to its
    right, and up is up. This leaves a yaw of about -45 to 45 degrees.

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
    """Returns three unit vectors ``[9]`` towards the vanishing points of right, up and forwards.

    Args:
        rotation: ``[3, 3]`` from the camera to the world.
    """
    axes, _ = room_axes(rotation)
    return np.concatenate([axes[:, 0], axes[:, 1], -axes[:, 2]])


def room_layout(
    position: np.ndarray, rotation: np.ndarray, extents: tuple[float, float, float]
) -> np.ndarray:
    """Returns the room's box in the camera's frame, ``[9]``, each number about in [-1, 1].

    As Taskonomy's: the box's centre, three angles and three sizes. In order:

    - centre x, y, z, in units of 4 m
    - yaw, pitch, roll, in units of 45 degrees: turned by yaw about y, then by roll about z, then by
      pitch about x, a vector in the box's frame is one in the camera's:
      ``R = Rx(pitch) Rz(roll) Ry(yaw)``, so that pitch and roll are the camera's alone
    - sizes along the box's right, up and backwards, as ``size / 4 m - 1``

    The box's axes are those of `room_axes`.

    Args:
        position: ``[3]`` of the camera in the world.
        rotation: ``[3, 3]`` from the camera to the world.
        extents: of the room along the world's axes in metres.
    """
    axes, along = room_axes(rotation)
    centre = rotation.T @ (np.array([0.0, 0.0, 0.5 * extents[2]]) - position)
    up = axes[:, 1]
    pitch, roll = np.arctan2(up[2], up[1]), np.arcsin(np.clip(-up[0], -1.0, 1.0))
    right, _, back = (_pitch_and_roll(pitch, roll).T @ axes).T
    yaw = np.arctan2(back[0], right[0])
    sizes = np.array([extents[axis] for axis in along])
    return np.concatenate(
        [centre / _METRES, np.array([yaw, pitch, roll]) / _PITCH, sizes / _METRES - 1.0]
    )


def box_corners(layout: np.ndarray) -> np.ndarray:
    """Returns the eight corners ``[8, 3]``, in the camera's frame in metres, of a `room_layout`.

    In the order of ``itertools.product((-1, 1), repeat=3)`` along right, up and backwards.
    """
    centre, (yaw, pitch, roll), sizes = layout[:3], layout[3:6] * _PITCH, layout[6:]
    turn_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    half = 0.5 * _METRES * (sizes + 1.0)
    corners = np.array(list(product((-1, 1), repeat=3))) * half
    return _METRES * centre + corners @ (_pitch_and_roll(pitch, roll) @ turn_y).T


def _pitch_and_roll(pitch: float, roll: float) -> np.ndarray:
    """Returns ``Rx(pitch) Rz(roll)``."""
    (cos_p, cos_r), (sin_p, sin_r) = (f([pitch, roll]) for f in (np.cos, np.sin))
    turn_x = np.array([[1, 0, 0], [0, cos_p, -sin_p], [0, sin_p, cos_p]])
    return turn_x @ np.array([[cos_r, -sin_r, 0], [sin_r, cos_r, 0], [0, 0, 1]])
