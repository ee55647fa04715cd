"""Parts, placed by the middle of their base."""

import numpy as np

from task_relatedness.rooms.scenes.scene import Colour, Material, Part, colour, pose

Point = tuple[float, float, float]


def block(base: Point, size: Point, material: Material) -> Part:
    """Returns a box of `size` that stands on `base`."""
    x, y, z = base
    return Part("box", size, pose((x, y, z + 0.5 * size[2])), material)


def ball(centre: Point, radius: float, material: Material, glow: Colour | None = None) -> Part:
    """Returns a sphere."""
    return Part("sphere", (2 * radius, 2 * radius, 2 * radius), pose(centre), material, glow)


def drum(
    base: Point, radius: float, height: float, material: Material, glow: Colour | None = None
) -> list[Part]:
    """Returns a cylinder that stands on `base`, and the lid on it; only its side may glow."""
    x, y, z = base
    size = (2 * radius, 2 * radius, height)
    side = Part("cylinder", size, pose((x, y, z + 0.5 * height)), material, glow)
    return [side, Part("disk", (2 * radius, 2 * radius, 0.0), pose((x, y, z + height)), material)]


def panel(centre: Point, normal: Point, size: tuple[float, float], material: Material) -> Part:
    """Returns a rectangle.

    Args:
        centre: its middle.
        normal: a unit vector along an axis, which it looks along.
        size: extents along its u, which is level, and its v, which is upright where it can be.
        material: of its front.
    """
    looks = np.array(normal, dtype=float)
    upright = np.array([0.0, 0.0, 1.0]) if normal[2] == 0 else np.array([0.0, 1.0, 0.0])
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(upright, looks), upright, looks], axis=1)
    matrix[:3, 3] = centre
    return Part("rectangle", (*size, 0.0), matrix, material)


def screen(base: Point, size: tuple[float, float], rng: np.random.Generator) -> Part:
    """Returns a picture that looks along -y: a television's, dark or showing something."""
    x, y, z = base
    bright = 0.5 if rng.random() < 0.5 else 0.05
    first, second = (colour(rng.uniform(0.0, bright, 3)) for _ in range(2))
    pattern = "painting" if bright > 0.1 else "plain"
    material = Material(pattern, (first, second), seed=int(rng.integers(2**31)))
    return panel((x, y, z + 0.5 * size[1]), (0, -1, 0), size, material)
