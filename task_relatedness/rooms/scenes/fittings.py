"""What belongs to the house: walls, doors, windows, pictures, lights and rugs.

Fittings of walls are drawn in the wall's frame: the wall is y = 0, the floor z = 0, and the room
lies towards -y.
"""

from dataclasses import replace

import numpy as np

from task_relatedness.rooms.scenes import palette
from task_relatedness.rooms.scenes.primitives import ball, block, drum, panel
from task_relatedness.rooms.scenes.scene import Material, Thing, colour, pose

Rng = np.random.Generator


def shell(extents: tuple[float, float, float], rng: Rng) -> list[Thing]:
    """Returns floor, ceiling and four walls, one of which may have another colour."""
    width, depth, height = extents
    common = rng.integers(2**31)
    odd = int(rng.integers(8))
    things = [
        _plane("floor", (0, 0, 0), (0, 0, 1), (width, depth), palette.floor(rng, (width, depth))),
        _plane("ceiling", (0, 0, height), (0, 0, -1), (width, depth), palette.light(rng)),
    ]
    for side, (x, y) in enumerate(((0, -1), (1, 0), (0, 1), (-1, 0))):
        size = (width if x == 0 else depth, height)
        paint = np.random.default_rng(common + (side == odd))
        centre = (-0.5 * width * x, -0.5 * depth * y, 0.5 * height)
        things.append(_plane("wall", centre, (x, y, 0), size, palette.wall(paint, size)))
    return things


def wall_pose(extents: tuple[float, float, float], side: int, along: float) -> np.ndarray:
    """Returns the pose of the frame of wall `side` (0 to 3), `along` metres from its middle."""
    width, depth, _ = extents
    out = 0.5 * (depth if side % 2 == 0 else width)
    yaw = side * np.pi / 2
    x = along * np.cos(yaw) - out * np.sin(yaw)
    y = along * np.sin(yaw) + out * np.cos(yaw)
    return pose((x, y, 0.0), yaw)


def door(rng: Rng) -> tuple[Thing, float]:
    """Returns a door and its width."""
    width, height = rng.uniform(0.8, 1.0), rng.uniform(1.95, 2.1)
    leaf, frame = palette.wood(rng), palette.light(rng)
    parts = [
        block((0, -0.02, 0), (width, 0.04, height), leaf),
        block((0, -0.03, height), (width + 0.16, 0.06, 0.08), frame),
        *(
            block((s * (0.5 * width + 0.04), -0.03, 0), (0.08, 0.06, height), frame)
            for s in (-1, 1)
        ),
        ball((0.4 * width, -0.08, 1.0), 0.035, palette.dark(rng)),
    ]
    for low, high in ((0.15, 0.85), (1.1, 1.8)):
        parts.append(block((0, -0.045, low), (0.65 * width, 0.015, high - low), leaf))
    return Thing("door", tuple(parts)), width + 0.16


def window(rng: Rng, height: float) -> tuple[Thing, float, float]:
    """Returns a window that daylight comes through, or night, its width and the sill's height."""
    width, low = rng.uniform(0.8, 1.8), rng.uniform(0.6, 1.0)
    tall = min(rng.uniform(0.9, 1.5), height - low - 0.2)
    frame = palette.light(rng) if rng.random() < 0.7 else palette.wood(rng)
    sky = colour(rng.uniform([1.2, 1.6, 2.0], [3.5, 3.8, 4.5])) if rng.random() < 0.75 else None
    glass = palette.plain((0.03, 0.04, 0.07))
    pane = panel((0, -0.01, low + 0.5 * tall), (0, -1, 0), (width, tall), glass)
    bar = rng.uniform(0.04, 0.07)
    parts = [
        replace(pane, radiance=sky),
        *(block((0, -0.03, z), (width + bar, 0.06, bar), frame) for z in (low - bar, low + tall)),
        *(block((s * 0.5 * width, -0.03, low), (bar, 0.06, tall), frame) for s in (-1, 1)),
        block((0, -0.06, low - bar - 0.02), (width + 0.15, 0.12, 0.03), frame),
    ]
    for at in np.linspace(-0.5, 0.5, int(rng.integers(2, 4)))[1:-1]:
        parts.append(block((at * width, -0.025, low), (bar, 0.05, tall), frame))
    if rng.random() < 0.5:
        parts.append(block((0, -0.025, low + 0.6 * tall), (width, 0.05, bar), frame))
    return Thing("window", tuple(parts)), width + 0.2, low - 0.1


def picture(rng: Rng) -> tuple[Thing, float]:
    """Returns a framed picture and its width."""
    width, tall, edge = *rng.uniform(0.35, 0.95, 2), rng.uniform(0.02, 0.06)
    low = rng.uniform(1.45, 1.65) - 0.5 * tall
    frame = palette.wood(rng) if rng.random() < 0.5 else palette.dark(rng)
    parts = (
        block((0, -0.015, low), (width, 0.03, tall), frame),
        panel(
            (0, -0.032, low + 0.5 * tall),
            (0, -1, 0),
            (width - 2 * edge, tall - 2 * edge),
            palette.painting(rng),
        ),
    )
    return Thing("picture", parts), width


def ceiling_light(place: tuple[float, float], height: float, rng: Rng) -> Thing:
    """Returns a glowing panel or disk under the ceiling, or a ball that hangs from it."""
    x, y = place
    white, tint = palette.light(rng), rng.uniform([0.95, 0.85, 0.7], [1.05, 1.0, 1.0])
    style = rng.random()
    if style < 0.5:
        size = (rng.uniform(0.4, 1.1), rng.uniform(0.4, 1.1))
        pane = panel((x, y, height - 0.045), (0, 0, -1), size, white)
        box = block((x, y, height - 0.04), (size[0] + 0.06, size[1] + 0.06, 0.04), white)
        glow = colour(rng.uniform(5.0, 9.0) / (size[0] * size[1]) * tint)
        return Thing("lamp", (replace(pane, radiance=glow), box))
    radius = rng.uniform(0.18, 0.4)
    if style < 0.8:
        pane = panel((x, y, height - 0.065), (0, 0, -1), (2 * radius, 2 * radius), white)
        glow = colour(rng.uniform(5.0, 9.0) / (4 * radius**2) * tint)
        side = drum((x, y, height - 0.07), radius + 0.02, 0.07, white)[:1]
        return Thing("lamp", (replace(pane, shape="disk", radiance=glow), *side))
    # Not so near the ceiling that most light comes from one spot there.
    radius, drop = rng.uniform(0.15, 0.25), rng.uniform(0.45, 0.7)
    glow = colour(rng.uniform(0.45, 0.8) / radius**2 * tint)
    cord = drum((x, y, height - drop), 0.012, drop, palette.dark(rng))[:1]
    return Thing("lamp", (*cord, ball((x, y, height - drop - radius), radius, white, glow)))


def rug(size: tuple[float, float], rng: Rng) -> Thing:
    """Returns a rug on the floor, round or not."""
    material = palette.rug(rng)
    if rng.random() < 0.3:
        return Thing("rug", tuple(drum((0, 0, 0), 0.5 * min(size), 0.012, material)))
    return Thing("rug", (block((0, 0, 0), (*size, 0.012), material),))


def _plane(label: str, centre, normal, size, material: Material) -> Thing:
    return Thing(label, (panel(centre, normal, size, material),))
