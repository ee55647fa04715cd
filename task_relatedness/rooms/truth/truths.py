"""The truth of every task for one view."""

from collections.abc import Callable

import numpy as np

from task_relatedness.rooms.truth.curvature import principal_curvatures, scaled_curvatures
from task_relatedness.rooms.truth.depth import log_depth, positions
from task_relatedness.rooms.truth.manhattan import room_layout, vanishing_points
from task_relatedness.rooms.truth.occlusion import occlusion_edges
from task_relatedness.rooms.truth.segments import image_segments, surface_segments
from task_relatedness.rooms.truth.semantics import main_object, semantic_labels
from task_relatedness.rooms.truth.surface_keypoints import surface_keypoints
from task_relatedness.rooms.truth.texture_edges import texture_edges, texture_keypoints
from task_relatedness.rooms.view import View

# What is the image itself has no file of its own.
IMAGE_TASKS = ("autoencoding", "denoising")


class _Seen:
    """A view, with what several truths need."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.image = view.image / 255.0
        self.rays = view.camera.rays(len(view.image))
        self.normal = view.normal.astype(np.float64)
        self.position = positions(view.distance, self.rays)

    def facing(self) -> np.ndarray:
        """Cosine between normals and the way to the camera, ``[H, W]``."""
        return np.clip(-(self.normal * self.rays).sum(-1), 0.0, 1.0)


# By task: images [H, W, C] or [H, W], vectors [C], labels.
_TRUTHS: dict[str, Callable[[_Seen], np.ndarray]] = {
    "curvature": lambda seen: scaled_curvatures(principal_curvatures(seen.position, seen.normal)),
    "edge_texture": lambda seen: texture_edges(seen.image),
    "edge_occlusion": lambda seen: occlusion_edges(seen.position, seen.normal),
    "keypoints2d": lambda seen: texture_keypoints(seen.image),
    "keypoints3d": lambda seen: surface_keypoints(seen.position, seen.normal),
    # Light from a lamp at the camera on white matt surfaces.
    "reshading": lambda seen: seen.facing(),
    "depth_zbuffer": lambda seen: log_depth(-seen.position[..., 2]),
    "depth_euclidean": lambda seen: log_depth(seen.view.distance),
    "normal": lambda seen: seen.normal,
    "room_layout": lambda seen: room_layout(
        seen.view.camera.position, seen.view.camera.rotation, seen.view.extents
    ),
    "segment_unsup25d": lambda seen: surface_segments(seen.image, seen.position, seen.normal),
    "segment_unsup2d": lambda seen: image_segments(seen.image),
    "vanishing_point": lambda seen: vanishing_points(seen.view.camera.rotation),
    "segment_semantic": lambda seen: semantic_labels(seen.view.thing, seen.view.labels),
    "class_object": lambda seen: np.asarray(main_object(seen.view.thing, seen.view.labels)),
}


def truths(view: View) -> dict[str, np.ndarray]:
    """Returns the truth of each task by its name, except those that are the image itself.

    Images are float16 ``[C, H, W]``, vectors float32 ``[C]``, labels int16 ``[H, W]`` or ``[]``.

    Raises:
        ValueError: when one is not finite.
    """
    seen = _Seen(view)
    result = {}
    for name, truth in _TRUTHS.items():
        value = np.asarray(truth(seen))
        if not np.isfinite(value).all():
            raise ValueError(f"{name}: expected finite truth, got NaN or infinity.")
        result[name] = _stored(value)
    return result


def _stored(value: np.ndarray) -> np.ndarray:
    if np.issubdtype(value.dtype, np.integer):
        return value.astype(np.int16)
    if value.ndim == 1:
        return value.astype(np.float32)
    planes = value[None] if value.ndim == 2 else np.moveaxis(value, -1, 0)
    return np.ascontiguousarray(planes, dtype=np.float16)
