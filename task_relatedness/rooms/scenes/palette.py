"""Materials, drawn at random."""

import colorsys
from collections.abc import Sequence

import numpy as np

from task_relatedness.rooms.scenes.scene import Colour, Material, Pattern

Rng = np.random.Generator


def plain(colour: Colour) -> Material:
    """Returns one colour all over."""
    return Material("plain", (colour, colour))


def wood(rng: Rng) -> Material:
    """Returns wood, or now and then paint."""
    if rng.random() < 0.2:
        return light(rng)
    hue, value = rng.uniform(0.05, 0.1), rng.uniform(0.25, 0.8)
    first = _colour(hue, rng.uniform(0.4, 0.7), value)
    second = _colour(hue, rng.uniform(0.5, 0.75), 0.6 * value)
    return _patterned(rng, "wood", first, second, (1.0, 1.0))


def cloth(rng: Rng) -> Material:
    """Returns plain or patterned cloth."""
    first, second = _any(rng), _any(rng)
    pattern = _one_of(rng, ["plain", "plain", "stripes", "checker", "noise", "dots"])
    return _patterned(rng, pattern, first, second, _square(rng))


def vivid(rng: Rng) -> Material:
    """Returns a strong colour."""
    return plain(_colour(rng.random(), rng.uniform(0.5, 0.95), rng.uniform(0.4, 0.95)))


def light(rng: Rng) -> Material:
    """Returns white or nearly so."""
    return plain(_colour(rng.random(), rng.uniform(0.0, 0.15), rng.uniform(0.8, 0.95)))


def dark(rng: Rng) -> Material:
    """Returns black, iron or nearly so."""
    return plain(_colour(rng.random(), rng.uniform(0.0, 0.4), rng.uniform(0.15, 0.4)))


def painting(rng: Rng) -> Material:
    """Returns what hangs in frames."""
    return _patterned(rng, "painting", _any(rng), _any(rng), (1.0, 1.0))


def wall(rng: Rng, size: tuple[float, float]) -> Material:
    """Returns paint or wallpaper for a wall of `size` in metres."""
    hue = rng.random()
    first = _colour(hue, rng.uniform(0.0, 0.4), rng.uniform(0.65, 0.95))
    second = _colour(hue + rng.uniform(-0.1, 0.1), rng.uniform(0.1, 0.5), rng.uniform(0.5, 0.9))
    pattern = _one_of(rng, ["plain", "plain", "noise", "stripes", "dots", "tiles"])
    return _patterned(rng, pattern, first, second, _tiled(size, rng.uniform(0.6, 1.2)))


def floor(rng: Rng, size: tuple[float, float]) -> Material:
    """Returns boards, tiles or carpet for a floor of `size` in metres."""
    if rng.random() < 0.45:
        return _retiled(wood(rng), _tiled(size, rng.uniform(0.4, 0.9)))
    hue = rng.random()
    first = _colour(hue, rng.uniform(0.0, 0.5), rng.uniform(0.3, 0.85))
    second = _colour(hue, rng.uniform(0.0, 0.5), rng.uniform(0.2, 0.9))
    pattern = _one_of(rng, ["tiles", "checker", "noise", "plain"])
    return _patterned(rng, pattern, first, second, _tiled(size, rng.uniform(0.7, 1.4)))


def rug(rng: Rng) -> Material:
    """Returns what lies on floors."""
    pattern = _one_of(rng, ["stripes", "checker", "noise", "dots", "painting"])
    return _patterned(rng, pattern, _any(rng), _any(rng), _square(rng))


def _any(rng: Rng) -> Colour:
    return _colour(rng.random(), rng.uniform(0.1, 0.8), rng.uniform(0.25, 0.9))


def _colour(hue: float, saturation: float, value: float) -> Colour:
    """From hue, saturation and value as seen, to linear reflectances."""
    red, green, blue = (channel**2.2 for channel in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _one_of(rng: Rng, patterns: Sequence[Pattern]) -> Pattern:
    return patterns[int(rng.integers(len(patterns)))]


def _patterned(
    rng: Rng, pattern: Pattern, first: Colour, second: Colour, repeats: tuple[float, float]
) -> Material:
    return Material(pattern, (first, second), repeats, int(rng.integers(2**31)))


def _square(rng: Rng) -> tuple[float, float]:
    often = float(rng.integers(1, 4))
    return often, often


def _retiled(material: Material, repeats: tuple[float, float]) -> Material:
    return Material(material.pattern, material.colours, repeats, material.seed)


def _tiled(size: tuple[float, float], side: float) -> tuple[float, float]:
    """How often a tile of `side` metres fits."""
    return max(1.0, round(size[0] / side)), max(1.0, round(size[1] / side))
