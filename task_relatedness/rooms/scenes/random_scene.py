"""Rooms, drawn at random."""

import numpy as np

from task_relatedness.rooms.classes import OBJECT_CLASSES
from task_relatedness.rooms.scenes import fittings
from task_relatedness.rooms.scenes.floor_plan import FloorPlan
from task_relatedness.rooms.scenes.furniture import FURNITURE, Piece
from task_relatedness.rooms.scenes.scene import Camera, Scene, Thing, looking_at, pose

Rng = np.random.Generator

_N_CAMERAS = 10
# Of how pieces besides the subject are drawn, in the order of OBJECT_CLASSES.
_COMMON = np.array([2.0, 2.0, 1.5, 1.0, 1.5, 2.0, 1.5, 1.5, 0.7, 0.7])


def random_scene(seed: int, index: int, attempt: int = 0) -> Scene:
    """Returns a room, which depends on the arguments alone.

    Every class of object is equally often the subject, which cameras look at.

    Args:
        seed: of the set of rooms.
        index: of the room in it.
        attempt: how many rooms of this seed and index had no good view.
    """
    # Not drawn again with the rest: small things have more rooms without a good view of them.
    subject = str(np.random.default_rng((seed, index)).choice(OBJECT_CLASSES))
    rng = np.random.default_rng((seed, index, attempt))
    extents = (rng.uniform(3.0, 6.5), rng.uniform(3.0, 6.5), rng.uniform(2.3, 3.2))
    things = fittings.shell(extents, rng)
    plan = FloorPlan(extents)
    things += _walls(extents, plan, rng)
    things += _lights(extents, rng)
    placed = _furnish(subject, plan, rng)
    first = len(things)
    things += [thing for thing, _ in placed]
    if rng.random() < 0.5:
        size = (rng.uniform(1.2, 2.4), rng.uniform(1.0, 1.8))
        x, y = rng.uniform(-0.2, 0.2, 2) * extents[:2]
        things.append(fittings.rug(size, rng).moved(pose((x, y, 0.0), rng.integers(2) * np.pi / 2)))
    at = next((i for i, (thing, _) in enumerate(placed) if thing.label == subject), None)
    if at is None:
        return Scene(extents, tuple(things), None, ())
    return Scene(extents, tuple(things), first + at, _cameras(placed[at][1], extents, plan, rng))


def _walls(extents: tuple[float, float, float], plan: FloorPlan, rng: Rng) -> list[Thing]:
    """Doors, windows and pictures, none before another."""
    made = [(*fittings.door(rng), 0.0)] if rng.random() < 0.85 else []
    made += [fittings.window(rng, extents[2]) for _ in range(rng.integers(0, 4))]
    made += [(*fittings.picture(rng), 0.0) for _ in range(rng.integers(0, 5))]
    taken: list[tuple[int, float, float]] = []
    things = []
    for thing, width, sill in made:
        for _ in range(20):
            side = int(rng.integers(4))
            reach = 0.5 * (extents[side % 2] - width) - 0.1
            along = rng.uniform(-reach, reach)
            if all(
                side != other or abs(along - at) > 0.5 * (width + wide) + 0.05
                for other, at, wide in taken
            ):
                taken.append((side, along, width))
                place = fittings.wall_pose(extents, side, along)
                things.append(thing.moved(place))
                if thing.label != "picture":
                    plan.keep_clear(place @ pose((0.0, -0.4, 0.0)), (width, 0.8), sill)
                break
    return things


def _lights(extents: tuple[float, float, float], rng: Rng) -> list[Thing]:
    width, depth, height = extents
    if rng.random() < 0.6:
        places = [(0.1 * width * rng.uniform(-1, 1), 0.1 * depth * rng.uniform(-1, 1))]
    elif width > depth:
        places = [(-0.25 * width, 0.0), (0.25 * width, 0.0)]
    else:
        places = [(0.0, -0.25 * depth), (0.0, 0.25 * depth)]
    style = rng.integers(2**31)
    return [fittings.ceiling_light(place, height, np.random.default_rng(style)) for place in places]


def _furnish(subject: str, plan: FloorPlan, rng: Rng) -> list[tuple[Thing, np.ndarray]]:
    """Things and the boxes ``[2, 3]`` around them; the first of its kind is the subject."""
    placed: list[tuple[Thing, np.ndarray]] = []
    first = FURNITURE[subject](rng)
    place = None
    if rng.random() < {"television": 0.75, "ornament": 0.3}.get(subject, 0.0):
        support = FURNITURE["table" if rng.random() < 0.5 else "cabinet"](rng)
        place = plan.place(support, rng) if support.top is not None else None
        if place is not None and support.top is not None:
            _put(support, place, placed)
            _put(first, place @ pose((0.0, 0.0, support.top), _turn(rng, 0.3)), placed)
    if place is None:
        _settle(first, plan, placed, rng)
    share = _COMMON / _COMMON.sum()
    for kind in rng.choice(OBJECT_CLASSES, size=rng.integers(3, 9), p=share):
        _settle(FURNITURE[str(kind)](rng), plan, placed, rng)
    return placed


def _settle(piece: Piece, plan: FloorPlan, placed: list, rng: Rng) -> None:
    """Puts a piece where there is room, with what goes with it, or leaves it out."""
    place = plan.place(piece, rng)
    if place is None:
        return
    _put(piece, place, placed)
    if piece.thing.label == "table" and piece.height > 0.6:
        style = rng.integers(2**31)
        for side in rng.permutation(4)[: rng.integers(0, 4)]:
            seat = FURNITURE["chair"](np.random.default_rng(style))
            along, out = piece.footprint[:: 1 if side % 2 == 0 else -1]
            away = 0.5 * out + rng.uniform(0.1, 0.3)
            yaw = side * np.pi / 2
            offset = rng.uniform(-0.2, 0.2) * along
            spot = pose((0, 0, 0), yaw) @ pose((offset, -away, 0.0), np.pi + _turn(rng, 0.2))
            if plan.fits(place @ spot, seat.footprint, seat.height):
                plan.take(place @ spot, seat.footprint, seat.height)
                _put(seat, place @ spot, placed)
    if piece.top is not None and rng.random() < 0.6:
        kind = "television" if piece.thing.label == "cabinet" and rng.random() < 0.4 else "ornament"
        shift = rng.uniform(-0.25, 0.25) * piece.footprint[0] if kind == "ornament" else 0.0
        spot = pose((shift, 0.0, piece.top), _turn(rng, 0.3))
        _put(FURNITURE[kind](rng), place @ spot, placed)


def _put(piece: Piece, place: np.ndarray, placed: list) -> None:
    width, depth = piece.footprint
    corners = np.array(
        [
            (x * width, y * depth, z * piece.height, 1)
            for x in (-0.5, 0.5)
            for y in (-0.5, 0.5)
            for z in (0, 1)
        ]
    )
    corners = (corners @ place.T)[:, :3]
    placed.append((piece.thing.moved(place), np.stack([corners.min(0), corners.max(0)])))


def _turn(rng: Rng, spread: float) -> float:
    return rng.uniform(-spread, spread)


def _cameras(
    box: np.ndarray, extents: tuple[float, float, float], plan: FloorPlan, rng: Rng
) -> tuple[Camera, ...]:
    """Cameras that stand free and look at what is in ``[2, 3]`` `box`."""
    centre, (width, depth, height) = box.mean(0), box[1] - box[0]
    # As large as it looks: a lamp is tall, and yet little of a picture.
    size = 1.3 * np.sqrt(np.hypot(width, depth) * height)
    cameras: list[Camera] = []
    for _ in range(40 * _N_CAMERAS):
        field_of_view = rng.uniform(60.0, 75.0)
        fills = rng.uniform(0.35, 0.8)
        away = size / (2 * fills * np.tan(np.radians(field_of_view) / 2))
        away = max(away, 0.7) + rng.uniform(0.0, 0.5)
        angle, eye = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, min(1.8, extents[2] - 0.4))
        position = np.array(
            [centre[0] + away * np.cos(angle), centre[1] + away * np.sin(angle), eye]
        )
        at = centre + rng.normal(0.0, 0.12 * away, 3)
        roll = rng.normal(0.0, np.radians(2.5))
        pitch = np.arctan2(at[2] - eye, np.hypot(*(at - position)[:2]))
        if plan.is_free(position) and abs(pitch) < np.radians(35):
            cameras.append(looking_at(position, at, roll, field_of_view))
            if len(cameras) == _N_CAMERAS:
                break
    return tuple(cameras)
