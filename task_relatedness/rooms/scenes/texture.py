"""Procedural textures that repeat without a seam."""

import numpy as np
from scipy.ndimage import gaussian_filter

from task_relatedness.rooms.scenes.scene import Material

_SIDE = 64


def texture(material: Material) -> np.ndarray:
    """Returns linear reflectances ``[side, side, 3]`` float32 in [0, 1]; one pixel where plain."""
    first, second = (np.asarray(colour, dtype=float) for colour in material.colours)
    if material.pattern == "plain":
        return first.astype(np.float32)[None, None]
    rng = np.random.default_rng(material.seed)
    if material.pattern == "painting":
        return _painting(first, second, rng)
    weight = _weight(material.pattern, rng)[..., None]
    return (first + weight * (second - first)).clip(0.0, 1.0).astype(np.float32)


def _weight(pattern: str, rng: np.random.Generator) -> np.ndarray:
    """The second colour's share, ``[side, side]`` in [0, 1]."""
    v, u = (np.mgrid[:_SIDE, :_SIDE] + 0.5) / _SIDE
    match pattern:
        case "checker":
            return ((np.floor(2 * u) + np.floor(2 * v)) % 2).astype(float)
        case "stripes":
            return (np.mod(2 * u, 1.0) < rng.uniform(0.25, 0.6)).astype(float)
        case "noise":
            return _noise(rng, 5.0)
        case "wood":
            bend = 0.25 * _noise(rng, 8.0)
            grain = 0.5 + 0.5 * np.sin(2 * np.pi * (rng.integers(3, 7) * u + 4 * bend))
            planks = np.where(np.mod(2 * u, 1.0) < 0.06, 1.0, 0.0)
            fine = gaussian_filter(rng.standard_normal((_SIDE, _SIDE)), (8.0, 0.6), mode="wrap")
            return np.clip(0.55 * grain + 0.3 * _scaled(fine) + planks, 0.0, 1.0)
        case "tiles":
            joint = 0.05
            joints = (np.mod(2 * u, 1.0) < joint) | (np.mod(2 * v, 1.0) < joint)
            shade = rng.uniform(0.0, 0.3, (2, 2)).repeat(_SIDE // 2, 0).repeat(_SIDE // 2, 1)
            return np.where(joints, 1.0, shade)
        case "dots":
            radius = np.hypot(np.mod(2 * u, 1.0) - 0.5, np.mod(2 * v, 1.0) - 0.5)
            return (radius < rng.uniform(0.2, 0.35)).astype(float)
    raise ValueError(f"there is no pattern {pattern!r}.")


def _painting(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blobs of many colours on a gradient."""
    v, u = (np.mgrid[:_SIDE, :_SIDE] + 0.5) / _SIDE
    image = first + v[..., None] * (second - first)
    for _ in range(rng.integers(3, 8)):
        centre, radii = rng.uniform(0.1, 0.9, 2), rng.uniform(0.05, 0.3, 2)
        inside = ((u - centre[0]) / radii[0]) ** 2 + ((v - centre[1]) / radii[1]) ** 2 < 1
        image[inside] = rng.uniform(0.02, 0.9, 3)
    return image.clip(0.0, 1.0).astype(np.float32)


def _noise(rng: np.random.Generator, scale: float) -> np.ndarray:
    return _scaled(gaussian_filter(rng.standard_normal((_SIDE, _SIDE)), scale, mode="wrap"))


def _scaled(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())
