"""Edges and corners of the image itself."""

import numpy as np
from skimage.color import rgb2gray
from skimage.feature import hessian_matrix_det
from skimage.filters import gaussian, sobel

# Strengths that become tanh(1).
_EDGE = 0.15
_KEYPOINT = 0.002
_SCALES = (1, 2)
_MARGIN = 12


def texture_edges(image: np.ndarray) -> np.ndarray:
    """Returns how strong the edge at each pixel is, ``[H, W]`` in [0, 1).

    As Canny's detector begins, and without suppressing what is not the maximum, as Taskonomy does:
    the grey image is smoothed and its gradient measured.

    Args:
        image: ``[H, W, 3]`` in [0, 1].
    """
    return np.tanh(sobel(gaussian(rgb2gray(image), 0.7)) / _EDGE)


def texture_keypoints(image: np.ndarray) -> np.ndarray:
    """Returns a heat map of blobs and corners, ``[H, W]`` in [0, 1).

    The measure of SURF, Taskonomy's detector: the determinant of the Hessian, the greatest over
    scales, each made comparable by the fourth power of its scale; where it is negative there is a
    saddle and no keypoint. SURF's boxes are too coarse for images as small as these: Gaussian
    derivatives take their place.

    Args:
        image: ``[H, W, 3]`` in [0, 1].
    """
    # scikit-image would see an edge where the image ends.
    grey = np.pad(rgb2gray(image), _MARGIN, mode="reflect")
    inside = (slice(_MARGIN, -_MARGIN),) * 2
    response = np.max(
        [
            scale**4 * hessian_matrix_det(grey, scale, approximate=False)[inside]
            for scale in _SCALES
        ],
        axis=0,
    )
    return np.tanh(np.maximum(response, 0.0) / _KEYPOINT)
