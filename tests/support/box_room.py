"""An empty room, seen by closed-form arithmetic: no renderer."""

import numpy as np

from task_relatedness.rooms.scenes.scene import Camera, looking_at

EXTENTS = (4.0, 3.0, 2.7)


def random_camera(seed: int) -> Camera:
    """A camera somewhere in the room, that looks somewhere."""
    rng = np.random.default_rng(seed)
    position = rng.uniform(-0.35, 0.35, 3) * EXTENTS + [0, 0, EXTENTS[2] / 2]
    at = position + rng.normal(size=3) * [1, 1, 0.3]
    return looking_at(position, at, rng.normal(0, 0.05), rng.uniform(60, 75))


def box_room(camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances, normals in the camera's frame, and which of the six sides each pixel sees."""
    rays = camera.rays(size) @ camera.rotation.T
    low = np.array([-EXTENTS[0] / 2, -EXTENTS[1] / 2, 0.0])
    wall = np.where(rays > 0, low + EXTENTS, low)
    reach = (wall - camera.position) / rays
    axis = reach.argmin(-1)
    distance = reach.min(-1)
    sign = np.take_along_axis(np.sign(rays), axis[..., None], -1)[..., 0]
    normal = -sign[..., None] * np.eye(3)[axis]
    return distance, normal @ camera.rotation, 2 * axis + (sign > 0)
