"""How surfaces bend."""

import numpy as np

from task_relatedness.rooms.truth.neighbours import CORNERS, SIDES, shifted
from task_relatedness.rooms.truth.occlusion import occlusion

# Radius in metres whose curvature is three quarters of the full strength.
_RADIUS = 0.1


def principal_curvatures(position: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Returns both principal curvatures ``[H, W, 2]`` in 1/m, the greater first.

    A sphere of radius r, seen from outside, has 1/r twice; seen from inside, -1/r twice. The shape
    operator S of each pixel is the symmetric 2 x 2 matrix that best explains, in its tangent plane,
    how normals change towards its neighbours: ``S dx = dn``, in the least squares over neighbours
    that nothing hides from it. Pixels with too few of those are flat. A crease bends as fast as
    pixels can tell.

    Source: Rusinkiewicz, Estimating Curvatures and Their Derivatives on Triangle Meshes, 3DPVT
    2004, section 3, with pixels for vertices.

    Args:
        position: ``[H, W, 3]`` in metres.
        normal: ``[H, W, 3]`` unit vectors.
    """
    first, second = _tangents(normal)
    shape = normal.shape[:2]
    # Unknowns (a, b, c) of S = [[a, b], [b, c]]; each neighbour gives two equations.
    left = np.zeros((*shape, 3, 3))
    right = np.zeros((*shape, 3))
    for step in SIDES + CORNERS:
        gap, turn = shifted(position, step) - position, shifted(normal, step) - normal
        u, v = (gap * first).sum(-1), (gap * second).sum(-1)
        rows = np.stack([np.stack([u, v, 0 * u], -1), np.stack([0 * u, u, v], -1)], axis=-2)
        values = np.stack([(turn * first).sum(-1), (turn * second).sum(-1)], axis=-1)
        weight = (occlusion(position, normal, step) == 0) & (u**2 + v**2 > 0)
        weight = weight / np.maximum(u**2 + v**2, 1e-12)
        left += np.einsum("hwki,hwkj,hw->hwij", rows, rows, weight)
        right += np.einsum("hwki,hwk,hw->hwi", rows, values, weight)
    known = np.linalg.eigvalsh(left)[..., 0] > 1e-3
    left[~known], right[~known] = np.eye(3), 0.0
    a, b, c = np.moveaxis(np.linalg.solve(left, right[..., None])[..., 0], -1, 0)
    mean, half = 0.5 * (a + c), np.hypot(0.5 * (a - c), b)
    return np.stack([mean + half, mean - half], axis=-1)


def scaled_curvatures(curvatures: np.ndarray) -> np.ndarray:
    """Returns curvatures in 1/m as numbers in (-1, 1)."""
    return np.tanh(_RADIUS * curvatures)


def _tangents(normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors at right angles to each other and to each normal."""
    axis = np.where(np.abs(normal[..., :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    first = np.cross(normal, axis)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    return first, np.cross(normal, first)
