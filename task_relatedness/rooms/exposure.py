"""From light to a picture."""

import numpy as np
from scipy.ndimage import rank_filter

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
# Brightness that nine tenths of the picture stay below.
_BRIGHT = 0.7


def developed(light: np.ndarray, glows: np.ndarray) -> np.ndarray:
    """Returns sRGB ``[H, W, 3]`` uint8, without speckles, and neither dark nor burnt.

    Args:
        light: ``[H, W, 3]``, linear.
        glows: ``[H, W]`` booleans, pixels that exposure takes no notice of: lamps and windows.
    """
    light = _despeckled(light)
    seen = light[~glows] if (~glows).any() else light.reshape(-1, 3)
    bright = max(float(np.quantile(seen @ _LUMINANCE, 0.9)), 1e-6)
    light = (light * (_BRIGHT / bright)).clip(0.0, 1.0)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255.0 * encoded).astype(np.uint8)


def _despeckled(light: np.ndarray) -> np.ndarray:
    """No pixel brighter than the third brightest of the nine around it.

    A rare path that finds a small bright spot by chance makes one pixel far too bright.
    """
    luminance = light @ _LUMINANCE
    ceiling = rank_filter(luminance, rank=-3, size=3, mode="mirror")
    return light * np.minimum(1.0, ceiling / np.maximum(luminance, 1e-12))[..., None]
