"""What a camera sees."""

from dataclasses import dataclass

import numpy as np

from task_relatedness.rooms.scenes.scene import Camera


@dataclass(frozen=True)
class View:
    """A room as one camera sees it; everything in the camera's frame, at pixel centres.

    Attributes:
        image: ``[H, W, 3]`` uint8, sRGB.
        albedo: ``[H, W, 3]`` uint8, linear: the share of light that surfaces reflect, of 255.
        distance: ``[H, W]`` float32, from the camera to the surface in metres.
        normal: ``[H, W, 3]`` float32, unit vectors of surfaces, towards the camera's side.
        thing: ``[H, W]`` int16, positions in `labels`.
        labels: of each thing in the room.
        camera: where it was seen from.
        extents: of the room in metres.
    """

    image: np.ndarray
    albedo: np.ndarray
    distance: np.ndarray
    normal: np.ndarray
    thing: np.ndarray
    labels: tuple[str, ...]
    camera: Camera
    extents: tuple[float, float, float]
