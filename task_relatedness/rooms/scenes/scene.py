"""A room as plain data: what stands where, and where it is seen from.

World frame: metres, z up, the origin in the middle of the floor; walls are parallel to x and y.
Camera frame: x to the right, y up, z towards the viewer, as in OpenGL.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Colour = tuple[float, float, float]
Pattern = Literal["plain", "checker", "stripes", "noise", "wood", "tiles", "dots", "painting"]
Shape = Literal["box", "cylinder", "sphere", "rectangle", "disk"]


@dataclass(frozen=True)
class Material:
    """A diffuse surface.

    Attributes:
        pattern: see `task_relatedness.rooms.scenes.texture`.
        colours: reflectances in [0, 1], linear, that the pattern mixes.
        repeats: how often the pattern is repeated along u and v.
        seed: of the pattern's random draws.
    """

    pattern: Pattern
    colours: tuple[Colour, Colour]
    repeats: tuple[float, float] = (1.0, 1.0)
    seed: int = 0


@dataclass(frozen=True)
class Part:
    """A primitive.

    Attributes:
        shape: a box; an open cylinder around z; a sphere; or a rectangle or disk that looks
            along z.
        size: full extents along its own axes in metres.
        pose: ``[4, 4]``, from its own frame, whose origin is its middle, to the scene's: a
            rotation and a translation.
        material: of all its sides.
        radiance: what it emits, in linear RGB; None for what only reflects.
    """

    shape: Shape
    size: tuple[float, float, float]
    pose: np.ndarray
    material: Material
    radiance: Colour | None = None

    def moved(self, pose: np.ndarray) -> "Part":
        """Returns the part moved by ``[4, 4]`` `pose`."""
        return replace(self, pose=pose @ self.pose)


@dataclass(frozen=True)
class Thing:
    """Parts that belong together: one object, one wall, one lamp.

    Attributes:
        label: one of `task_relatedness.rooms.classes.SEMANTIC_CLASSES`.
        parts: its primitives.
    """

    label: str
    parts: tuple[Part, ...]

    def moved(self, pose: np.ndarray) -> "Thing":
        """Returns the thing moved by ``[4, 4]`` `pose`."""
        return replace(self, parts=tuple(part.moved(pose) for part in self.parts))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with square pixels and a square image.

    Attributes:
        position: ``[3]``, in the world.
        rotation: ``[3, 3]``, from camera to world: its columns are right, up and backwards.
        field_of_view: angle between the image's left and right edges, in degrees.
    """

    position: np.ndarray
    rotation: np.ndarray
    field_of_view: float

    def rays(self, size: int) -> np.ndarray:
        """Returns unit directions ``[size, size, 3]`` through pixel centres, in its own frame."""
        edge = np.tan(np.radians(self.field_of_view) / 2)
        at = ((np.arange(size) + 0.5) / size * 2 - 1) * edge
        rays = np.stack(np.broadcast_arrays(at[None, :], -at[:, None], -1.0), axis=-1)
        return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


@dataclass(frozen=True)
class Scene:
    """A closed room.

    Attributes:
        extents: along x, y and z in metres.
        things: everything in it, walls included.
        subject: position in `things` of what images should be of; None where it found no room.
        cameras: places to see it from, the best guess first.
    """

    extents: tuple[float, float, float]
    things: tuple[Thing, ...]
    subject: int | None
    cameras: tuple[Camera, ...]


def pose(position: tuple[float, float, float], yaw: float = 0.0) -> np.ndarray:
    """Returns ``[4, 4]``: a turn by `yaw` radians about z, then a move to `position`."""
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    matrix[:3, 3] = position
    return matrix


def colour(values: Iterable[float]) -> Colour:
    """Returns three numbers as a colour."""
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def looking_at(position: np.ndarray, at: np.ndarray, roll: float, field_of_view: float) -> Camera:
    """Returns the camera at `position` whose middle pixel sees `at`.

    Args:
        position: ``[3]`` in the world.
        at: ``[3]`` in the world, not straight above or below.
        roll: turn about the optical axis in radians.
        field_of_view: in degrees.
    """
    back = (position - at) / np.linalg.norm(position - at)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    turned = (
        np.cos(roll) * right + np.sin(roll) * up,
        np.cos(roll) * up - np.sin(roll) * right,
        back,
    )
    return Camera(position, np.stack(turned, axis=1), field_of_view)
