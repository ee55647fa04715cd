"""How far away things are."""

import numpy as np

# What is seen lies between these, in metres.
NEAREST, FARTHEST = 0.5, 10.0


def positions(distance: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Returns points ``[H, W, 3]`` float64 from the distance along each ray.

    Args:
        distance: ``[H, W]`` in metres.
        rays: ``[H, W, 3]`` unit vectors.
    """
    return distance[..., None].astype(np.float64) * rays


def log_depth(metres: np.ndarray) -> np.ndarray:
    """Returns depths on a logarithmic scale, 0 at `NEAREST` and nearer, 1 at `FARTHEST`.

    Taskonomy trains both of its depth tasks on logarithms.
    """
    scaled = np.log(np.maximum(metres, NEAREST) / NEAREST) / np.log(FARTHEST / NEAREST)
    return np.minimum(scaled, 1.0)
