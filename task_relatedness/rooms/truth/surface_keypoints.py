"""Corners of surfaces, whatever is painted on them."""

import numpy as np
from skimage.feature import structure_tensor, structure_tensor_eigenvalues

# Strength that becomes tanh(1).
_SCALE = 1.5


def surface_keypoints(position: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Returns a heat map of places where the surface changes in two directions, in [0, 1).

    In the spirit of NARF, Taskonomy's detector, which seeks stable places beside strong changes of
    surface in a range image: Shi and Tomasi's corner measure, the smaller eigenvalue of the
    structure tensor, of the logarithm of depth and the three components of the normal together.

    Source: Steder et al., Point Feature Extraction on 3D Range Scans Taking into Account Object
    Boundaries, ICRA 2011; Shi and Tomasi, Good Features to Track, CVPR 1994.

    Args:
        position: ``[H, W, 3]`` in metres.
        normal: ``[H, W, 3]`` unit vectors.
    """
    depth = np.log(np.linalg.norm(position, axis=-1))
    channels = [2.0 * depth, *np.moveaxis(normal.astype(np.float64), -1, 0)]
    tensors = [structure_tensor(channel, sigma=1, mode="nearest") for channel in channels]
    total = [np.sum(entries, axis=0) for entries in zip(*tensors, strict=True)]
    smaller = structure_tensor_eigenvalues(total)[1]
    return np.tanh(np.sqrt(np.maximum(smaller, 0.0)) / _SCALE)
