"""Furniture out of primitives.

Each function draws one piece, in its own frame: it stands on z = 0 in the middle of its footprint,
its back towards +y, its front towards -y.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from task_relatedness.rooms.scenes.palette import cloth, dark, light, plain, vivid, wood
from task_relatedness.rooms.scenes.primitives import ball, block, drum, screen
from task_relatedness.rooms.scenes.scene import Material, Part, Thing, colour

Rng = np.random.Generator


@dataclass(frozen=True)
class Piece:
    """A piece of furniture.

    Attributes:
        thing: what it is.
        footprint: width along x and depth along y in metres.
        height: in metres.
        top: height at which smaller things can stand on it; None for nowhere.
        against_wall: whether its back belongs to a wall.
    """

    thing: Thing
    footprint: tuple[float, float]
    height: float
    top: float | None = None
    against_wall: bool = True


def table(rng: Rng) -> Piece:
    """A table, square with legs or round on a foot; low ones are coffee tables."""
    height = rng.uniform(0.68, 0.8) if rng.random() < 0.65 else rng.uniform(0.35, 0.5)
    top, leg = wood(rng), wood(rng) if rng.random() < 0.5 else dark(rng)
    thick = rng.uniform(0.03, 0.07)
    if rng.random() < 0.35:
        radius = rng.uniform(0.35, 0.65)
        parts = [
            *drum((0, 0, height - thick), radius, thick, top),
            *drum((0, 0, 0.03), 0.05, height - thick - 0.03, leg),
            *drum((0, 0, 0), 0.5 * radius, 0.03, leg),
        ]
        return Piece(Thing("table", tuple(parts)), (2 * radius, 2 * radius), height, height, False)
    width, depth = rng.uniform(0.8, 1.8), rng.uniform(0.55, 0.95)
    parts = [block((0, 0, height - thick), (width, depth, thick), top)]
    parts += _legs(width - 0.1, depth - 0.1, height - thick, rng.uniform(0.04, 0.08), leg, rng)
    return Piece(Thing("table", tuple(parts)), (width, depth), height, height, False)


def chair(rng: Rng) -> Piece:
    """A chair with a back, or an office chair on a column."""
    width, seat = rng.uniform(0.4, 0.52), rng.uniform(0.42, 0.48)
    back = rng.uniform(0.4, 0.55)
    frame = wood(rng) if rng.random() < 0.6 else dark(rng)
    cover = cloth(rng) if rng.random() < 0.6 else frame
    parts = [block((0, 0, seat - 0.05), (width, width, 0.05), cover)]
    at = 0.5 * width - 0.025
    if rng.random() < 0.5:
        parts.append(block((0, at, seat + 0.08), (width, 0.04, back - 0.08), cover))
    else:
        parts += [block((0, at, seat + z * back), (width, 0.03, 0.1), frame) for z in (0.4, 0.75)]
    parts += [block((x, at, seat), (0.04, 0.04, back), frame) for x in (-at, at)]
    if rng.random() < 0.25:
        parts += drum((0, 0, 0.05), 0.03, seat - 0.1, frame)
        parts += drum((0, 0, 0), 0.45 * width, 0.05, frame)
    else:
        parts += _legs(width - 0.02, width - 0.02, seat - 0.05, 0.04, frame, rng)
    return Piece(Thing("chair", tuple(parts)), (width, width), seat + back, None, False)


def sofa(rng: Rng) -> Piece:
    """A sofa of one to three seats."""
    seats = int(rng.integers(1, 4))
    arm, cell, depth = rng.uniform(0.12, 0.22), rng.uniform(0.55, 0.7), rng.uniform(0.75, 0.95)
    width, seat, back = 2 * arm + seats * cell, rng.uniform(0.38, 0.46), rng.uniform(0.72, 0.9)
    cover, cushion = cloth(rng), cloth(rng)
    parts = [
        block((0, 0, 0.08), (width, depth, seat - 0.2), cover),
        block((0, 0.5 * depth - 0.1, seat - 0.12), (width, 0.2, back - seat + 0.12), cover),
    ]
    for side in (-1, 1):
        at = side * 0.5 * (width - arm)
        parts.append(block((at, 0, seat - 0.12), (arm, depth, rng.uniform(0.25, 0.32)), cover))
    for cell_at in (np.arange(seats) - 0.5 * (seats - 1)) * cell:
        parts.append(block((cell_at, -0.1, seat - 0.12), (cell - 0.02, depth - 0.2, 0.14), cushion))
    if rng.random() < 0.6:
        x = rng.uniform(-0.5, 0.5) * (width - 2 * arm - 0.4)
        parts.append(block((x, 0.5 * depth - 0.28, seat + 0.02), (0.4, 0.14, 0.36), vivid(rng)))
    return Piece(Thing("sofa", tuple(parts)), (width, depth), back)


def bed(rng: Rng) -> Piece:
    """A bed, its head against the wall."""
    width, depth = rng.choice([0.95, 1.45, 1.8]), rng.uniform(1.95, 2.1)
    frame, sheet, blanket = wood(rng), light(rng), cloth(rng)
    low, high = rng.uniform(0.2, 0.32), rng.uniform(0.75, 1.1)
    mattress = rng.uniform(0.16, 0.24)
    top = low + mattress
    share = rng.uniform(0.55, 0.75)
    parts = [
        block((0, 0, 0.08), (width, depth, low - 0.08), frame),
        block((0, 0.5 * depth - 0.03, 0), (width, 0.06, high), frame),
        block((0, -0.03, low), (width - 0.06, depth - 0.08, mattress), sheet),
        block(
            (0, -0.5 * (1 - share) * depth - 0.005, low + 0.05),
            (width - 0.02, share * depth, mattress - 0.02),
            blanket,
        ),
    ]
    pillows = 1 if width < 1.2 else 2
    for at in (np.arange(pillows) - 0.5 * (pillows - 1)) * 0.5 * width:
        parts.append(block((at, 0.5 * depth - 0.32, top), (0.36 * width + 0.1, 0.36, 0.12), sheet))
    return Piece(Thing("bed", tuple(parts)), (width, depth), high)


def shelf(rng: Rng) -> Piece:
    """Open shelves with books."""
    width, depth, height = rng.uniform(0.6, 1.4), rng.uniform(0.25, 0.38), rng.uniform(1.1, 2.0)
    boards, material = int(rng.integers(3, 6)), wood(rng)
    parts = [
        block((side * 0.5 * (width - 0.03), 0, 0), (0.03, depth, height), material)
        for side in (-1, 1)
    ]
    gap = (height - 0.03) / boards
    parts += [block((0, 0, i * gap), (width, depth, 0.03), material) for i in range(boards + 1)]
    parts.append(block((0, 0.5 * depth - 0.01, 0), (width, 0.02, height), material))
    for i in range(boards):
        x, end = -0.5 * width + 0.05, rng.uniform(-0.1, 0.5) * width
        while x < end:
            thick, tall = rng.uniform(0.04, 0.12), rng.uniform(0.55, 0.9) * gap
            middle = (x + 0.5 * thick, 0.05, i * gap + 0.03)
            parts.append(block(middle, (thick, depth - 0.14, tall - 0.03), vivid(rng)))
            x += thick + 0.005
    return Piece(Thing("shelf", tuple(parts)), (width, depth), height)


def cabinet(rng: Rng) -> Piece:
    """A chest of drawers, a sideboard or a wardrobe."""
    if rng.random() < 0.35:
        width, depth, height = rng.uniform(0.8, 1.5), 0.58, rng.uniform(1.7, 2.1)
        columns, rows = int(rng.integers(2, 4)), 1
    else:
        width, depth, height = rng.uniform(0.6, 1.6), rng.uniform(0.4, 0.5), rng.uniform(0.55, 1.0)
        columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    body, front, knob = wood(rng), wood(rng) if rng.random() < 0.5 else light(rng), dark(rng)
    parts = [block((0, 0, 0.06), (width, depth, height - 0.06), body)]
    parts.append(block((0, 0.02, 0), (width - 0.06, depth - 0.08, 0.06), knob))
    cell_x, cell_z = width / columns, (height - 0.1) / rows
    for i in range(columns):
        for j in range(rows):
            x, z = (i + 0.5) * cell_x - 0.5 * width, 0.08 + j * cell_z
            y = -0.5 * depth - 0.008
            parts.append(block((x, y, z), (cell_x - 0.025, 0.018, cell_z - 0.025), front))
            parts.append(ball((x, y - 0.025, z + 0.6 * cell_z), 0.018, knob))
    top = height if height < 1.2 else None
    return Piece(Thing("cabinet", tuple(parts)), (width, depth + 0.08), height, top)


def lamp(rng: Rng) -> Piece:
    """A lamp on a pole; its shade glows, or not."""
    height, radius = rng.uniform(1.1, 1.7), rng.uniform(0.17, 0.28)
    pole, shade = dark(rng), light(rng)
    glow = (
        colour(rng.uniform(1.5, 4.0) * np.array([1.0, 0.82, 0.6])) if rng.random() < 0.5 else None
    )
    tall = rng.uniform(0.24, 0.4)
    parts = [
        *drum((0, 0, 0), 0.75 * radius, 0.03, pole),
        *drum((0, 0, 0.03), 0.018, height - tall - 0.03, pole),
    ]
    if rng.random() < 0.3:
        parts.append(ball((0, 0, height - radius), radius, shade, glow))
    else:
        parts += drum((0, 0, height - tall), radius, tall, shade, glow)
    return Piece(Thing("lamp", tuple(parts)), (2 * radius, 2 * radius), height)


def plant(rng: Rng) -> Piece:
    """A plant in a pot."""
    radius, pot, height = rng.uniform(0.13, 0.22), rng.uniform(0.2, 0.4), rng.uniform(0.7, 1.5)
    clay, stem = vivid(rng), plain((0.12, 0.07, 0.03))
    parts = [*drum((0, 0, 0), radius, pot, clay), *drum((0, 0, pot), 0.025, 0.5 * height, stem)]
    for _ in range(int(rng.integers(6, 13))):
        size = rng.uniform(0.07, 0.17)
        angle, out = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.2)
        z = rng.uniform(pot + 0.12, max(pot + 0.2, height - size))
        green = colour(rng.uniform([0.02, 0.12, 0.01], [0.12, 0.4, 0.08]))
        parts.append(ball((out * np.cos(angle), out * np.sin(angle), z), size, plain(green)))
    return Piece(Thing("plant", tuple(parts)), (0.6, 0.6), height)


def television(rng: Rng) -> Piece:
    """A flat screen on a foot, to stand on something or on the floor."""
    width = rng.uniform(0.7, 1.2)
    tall = 0.58 * width
    black, foot = plain((0.015, 0.015, 0.018)), rng.uniform(0.05, 0.12)
    parts = [
        block((0, 0, 0), (0.4 * width, 0.22, 0.025), black),
        block((0, 0.02, 0.02), (0.06, 0.05, foot + 0.05), black),
        block((0, 0, foot), (width, 0.05, tall), black),
        screen((0, -0.027, foot + 0.03), (width - 0.05, tall - 0.06), rng),
    ]
    return Piece(Thing("television", tuple(parts)), (width, 0.25), foot + tall)


def ornament(rng: Rng) -> Piece:
    """A vase, a ball, a stack of boxes or a snowman's worth of balls."""
    scale, first, second = rng.uniform(0.1, 0.28), vivid(rng), vivid(rng)
    kind, parts = int(rng.integers(4)), list[Part]()
    if kind == 0:
        parts.append(ball((0, 0, scale), scale, first))
        height = 2 * scale
    elif kind == 1:
        parts += drum((0, 0, 0), 0.7 * scale, 2.2 * scale, first)
        parts.append(ball((0, 0, 2.2 * scale), 0.5 * scale, second))
        height = 2.7 * scale
    elif kind == 2:
        parts.append(block((0, 0, 0), (2 * scale, 1.6 * scale, scale), first))
        parts.append(block((0.1 * scale, 0, scale), (1.3 * scale, scale, 0.8 * scale), second))
        height = 1.8 * scale
    else:
        parts.append(ball((0, 0, scale), scale, first))
        parts.append(ball((0, 0, 2.5 * scale), 0.65 * scale, second))
        height = 3.15 * scale
    return Piece(Thing("ornament", tuple(parts)), (2 * scale, 2 * scale), height, None, False)


FURNITURE: dict[str, Callable[[Rng], Piece]] = {
    make.__name__: make
    for make in (table, chair, sofa, bed, shelf, cabinet, lamp, plant, television, ornament)
}


def _legs(
    width: float, depth: float, height: float, thick: float, material: Material, rng: Rng
) -> list[Part]:
    places = [
        (x * 0.5 * (width - thick), y * 0.5 * (depth - thick)) for x in (-1, 1) for y in (-1, 1)
    ]
    if rng.random() < 0.4:
        return [
            part for x, y in places for part in drum((x, y, 0), 0.5 * thick, height, material)[:1]
        ]
    return [block((x, y, 0), (thick, thick, height), material) for x, y in places]
