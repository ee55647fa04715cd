"""Where one surface hides another."""

import numpy as np

from task_relatedness.rooms.truth.neighbours import SIDES, shifted

# Gaps of this many metres give about two thirds of the full strength.
_SCALE = 0.1


def occlusion_edges(position: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Returns how strongly each pixel lies on an occlusion edge, ``[H, W]`` in [0, 1).

    Args:
        position: ``[H, W, 3]`` in metres.
        normal: ``[H, W, 3]`` unit vectors.
    """
    widest = np.max([occlusion(position, normal, step) for step in SIDES], axis=0)
    return 1.0 - np.exp(-widest / _SCALE)


def occlusion(position: np.ndarray, normal: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Returns the gap ``[H, W]`` in metres between each pixel's surface and its neighbour's.

    Two neighbours belong to one surface or meet at a crease, whose gap is 0, when either lies in
    the other's tangent plane, and no further away than where the two pixels' patches of surface,
    the longer the more they are seen from the side, can touch.

    Args:
        position: ``[H, W, 3]`` in metres.
        normal: ``[H, W, 3]`` unit vectors.
        step: rows and columns to the neighbour.
    """
    distance = np.linalg.norm(position, axis=-1)
    width = np.hypot(*step) * _angle(position) * distance
    facing = np.abs((normal * position).sum(-1)) / distance
    length = width / np.maximum(facing, 0.01)
    way, other = shifted(position, step) - position, shifted(normal, step)
    off_plane = np.minimum(np.abs((way * normal).sum(-1)), np.abs((way * other).sum(-1)))
    too_far = np.linalg.norm(way, axis=-1) - length - shifted(length, step)
    above = off_plane - 2 * np.minimum(width, shifted(width, step))
    return np.maximum(np.maximum(above, too_far), 0.0)


def _angle(position: np.ndarray) -> float:
    """The angle between neighbouring rays in the middle of the image."""
    rays = position / np.linalg.norm(position, axis=-1, keepdims=True)
    row, column = rays.shape[0] // 2, rays.shape[1] // 2
    return float(np.linalg.norm(rays[row, column] - rays[row, column - 1]))
