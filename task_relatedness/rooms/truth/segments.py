"""Superpixels: what belongs together, without knowing what it is."""

import warnings

import numpy as np
from skimage.filters import gaussian
from skimage.segmentation import felzenszwalb, relabel_sequential

# The greater, the larger segments are.
_SCALE = 60.0
# The smallest segment, as a share of the image.
_SMALLEST = 0.006


def image_segments(image: np.ndarray) -> np.ndarray:
    """Returns the image's segments ``[H, W]`` int64, numbered from 0.

    Taskonomy takes normalised cuts; this is the faster graph-based segmentation of Felzenszwalb and
    Huttenlocher, Efficient Graph-Based Image Segmentation, IJCV 2004.

    Args:
        image: ``[H, W, 3]`` in [0, 1].
    """
    return _segments(_smoothed(image))


def surface_segments(image: np.ndarray, position: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Returns segments by colour, direction and depth together ``[H, W]`` int64, from 0.

    Args:
        image: ``[H, W, 3]`` in [0, 1].
        position: ``[H, W, 3]`` in metres.
        normal: ``[H, W, 3]`` unit vectors.
    """
    # How far away the tangent plane is: unlike depth it is the same all over a wall.
    plane = (position * normal).sum(-1, keepdims=True)
    channels = np.concatenate([0.35 * _smoothed(image), 0.25 * plane, 0.5 * normal], axis=-1)
    return _segments(channels)


def _smoothed(image: np.ndarray) -> np.ndarray:
    return gaussian(image.astype(np.float64), sigma=0.6, channel_axis=-1)


def _segments(channels: np.ndarray) -> np.ndarray:
    smallest = max(2, round(_SMALLEST * channels.shape[0] * channels.shape[1]))
    with warnings.catch_warnings():
        # scikit-image doubts that an image can have other than three channels.
        warnings.filterwarnings("ignore", "Got image with third dimension of", RuntimeWarning)
        found = felzenszwalb(channels, scale=_SCALE, sigma=0, min_size=smallest, channel_axis=-1)
    return relabel_sequential(found + 1)[0].astype(np.int64) - 1
