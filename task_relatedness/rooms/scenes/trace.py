"""Rendering by Mitsuba 3, on one thread: an image and what is seen in each pixel."""

import importlib
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from task_relatedness.rooms.classes import OBJECT_CLASSES
from task_relatedness.rooms.exposure import developed
from task_relatedness.rooms.scenes.random_scene import random_scene
from task_relatedness.rooms.scenes.scene import Camera, Part, Scene
from task_relatedness.rooms.scenes.texture import texture
from task_relatedness.rooms.view import View

_BOUNCES = 4
# Views are evaluated in this size whatever the image's, so that it does not decide on the scene.
_PROBE = 32
_ATTEMPTS = 50


def trace_room(seed: int, index: int, size: int, samples: int) -> View:
    """Returns room `index` of the set `seed`, seen by the first camera that has a good view.

    Args:
        seed: of the set of rooms.
        index: of the room in it.
        size: pixels a side.
        samples: paths a pixel.

    Raises:
        ImportError: when Mitsuba is not installed.
    """
    for attempt in range(_ATTEMPTS):
        scene = random_scene(seed, index, attempt)
        loaded = load_scene(scene)
        for camera in scene.cameras:
            if _is_good(scene, loaded.see(camera, _PROBE)):
                noise = int(np.random.default_rng((seed, index, attempt, 1)).integers(2**31))
                return loaded.view(camera, size, samples, noise)
    raise RuntimeError(
        f"room {index} of seed {seed} has no good view after {_ATTEMPTS} attempts; take another "
        "seed."
    )


class LoadedScene:
    """A scene in Mitsuba; see `load_scene`."""

    def __init__(self, scene: Scene, mitsuba: ModuleType) -> None:
        self._scene, self._mitsuba = scene, mitsuba
        parts = [(i, part) for i, thing in enumerate(scene.things) for part in thing.parts]
        description: dict[str, Any] = {"type": "scene"}
        for number, (_, part) in enumerate(parts):
            description[f"part{number}"] = _shape(part, mitsuba)
        # Mitsuba would merge shapes and lose which is which.
        self._loaded = mitsuba.load_dict(description, parallel=False, optimize=False)
        owner = {f"part{number}": thing for number, (thing, _) in enumerate(parts)}
        self._owner = np.array([owner[shape.id()] for shape in self._loaded.shapes()])

    def see(self, camera: Camera, size: int) -> dict[str, np.ndarray]:
        """Returns the arrays of a `View` that need no light, by name, from `camera`."""
        integrator = self._mitsuba.load_dict(
            {
                "type": "aov",
                "aovs": "position:position,normal:sh_normal,shape:shape_index,albedo:albedo",
            }
        )
        sampler = {"type": "stratified", "sample_count": 1, "jitter": False}
        names = [name.partition(".")[0] for name in integrator.aov_names()]
        pixels = self._render(integrator, camera, size, sampler, 0)
        channels = {
            name: pixels[..., [i for i, other in enumerate(names) if other == name]]
            for name in set(names)
        }
        # Mitsuba counts shapes from 1; 0 is nothing, which no closed room shows.
        shape = np.rint(channels["shape"][..., 0]).astype(int) - 1
        if (shape < 0).any():
            raise RuntimeError("a ray left the room: its walls have a gap.")
        normal = channels["normal"].astype(np.float64) @ camera.rotation
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        away = (normal * camera.rays(size)).sum(-1, keepdims=True) > 0
        distance = np.linalg.norm(channels["position"] - camera.position, axis=-1)
        return {
            "albedo": np.rint(255.0 * channels["albedo"].clip(0.0, 1.0)).astype(np.uint8),
            "distance": distance.astype(np.float32),
            "normal": np.where(away, -normal, normal).astype(np.float32),
            "thing": self._owner[shape].astype(np.int16),
        }

    def light(self, camera: Camera, size: int, samples: int, seed: int) -> np.ndarray:
        """Returns the light ``[size, size, 3]`` that falls on the camera's pixels, linear."""
        integrator = self._mitsuba.load_dict({"type": "path", "max_depth": _BOUNCES})
        sampler = {"type": "multijitter", "sample_count": samples}
        return self._render(integrator, camera, size, sampler, seed)

    def view(self, camera: Camera, size: int, samples: int, seed: int) -> View:
        """Returns the image and what is in it."""
        light = self.light(camera, size, samples, seed)
        labels = tuple(thing.label for thing in self._scene.things)
        seen = self.see(camera, size)
        glowing = [label in ("lamp", "window") for label in labels]
        image = developed(light, np.array(glowing)[seen["thing"]])
        return View(image=image, labels=labels, camera=camera, extents=self._scene.extents, **seen)

    def _render(
        self, integrator, camera: Camera, size: int, sampler: dict, seed: int
    ) -> np.ndarray:
        mitsuba = self._mitsuba
        to_world = np.eye(4)
        # Mitsuba's cameras have x to the left and look along z.
        to_world[:3, :3] = camera.rotation * [-1.0, 1.0, -1.0]
        to_world[:3, 3] = camera.position
        film = {"type": "hdrfilm", "width": size, "height": size, "component_format": "float32"}
        sensor = mitsuba.load_dict(
            {
                "type": "perspective",
                "fov": camera.field_of_view,
                "near_clip": 0.01,
                "to_world": mitsuba.ScalarTransform4f(to_world.tolist()),
                "sampler": sampler,
                "film": film | {"pixel_format": "rgb", "rfilter": {"type": "box"}},
            }
        )
        return np.array(
            mitsuba.render(self._loaded, sensor=sensor, integrator=integrator, seed=seed)
        )


def load_scene(scene: Scene) -> LoadedScene:
    """Returns `scene` ready to be seen.

    Raises:
        ImportError: when Mitsuba is not installed.
    """
    return LoadedScene(scene, require_mitsuba())


@cache
def require_mitsuba() -> ModuleType:
    """Returns Mitsuba, in the variant for one ray at a time.

    Raises:
        ImportError: when it is not installed.
    """
    try:
        mitsuba = importlib.import_module("mitsuba")
    except ImportError as error:
        raise ImportError("rendering rooms needs Mitsuba 3: pip install '.[rooms]'.") from error
    mitsuba.set_variant("scalar_rgb")
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    # Rooms are rendered in parallel, not pixels.
    importlib.import_module("drjit").set_thread_count(1)
    return mitsuba


def _shape(part: Part, mitsuba: ModuleType) -> dict[str, Any]:
    transform = mitsuba.ScalarTransform4f
    width, depth, height = (float(length) for length in part.size)
    moved = transform(part.pose.tolist())
    shape: dict[str, Any] = {"bsdf": _surface(part, mitsuba)}
    match part.shape:
        case "box":
            size = transform().scale([width / 2, depth / 2, height / 2])
            shape |= {"type": "cube", "to_world": moved @ size}
        case "sphere":
            shape |= {"type": "sphere", "radius": width / 2, "to_world": moved}
        case "cylinder":
            ends = {"p0": [0.0, 0.0, -height / 2], "p1": [0.0, 0.0, height / 2]}
            shape |= {"type": "cylinder", "radius": width / 2, "to_world": moved, **ends}
        case "rectangle":
            size = transform().scale([width / 2, depth / 2, 1.0])
            shape |= {"type": "rectangle", "to_world": moved @ size}
        case "disk":
            shape |= {
                "type": "disk",
                "to_world": moved @ transform().scale([width / 2, width / 2, 1.0]),
            }
    if part.radiance is not None:
        radiance = {"type": "rgb", "value": [float(value) for value in part.radiance]}
        shape["emitter"] = {"type": "area", "radiance": radiance}
    return shape


def _surface(part: Part, mitsuba: ModuleType) -> dict[str, Any]:
    pixels = texture(part.material)
    if pixels.shape[:2] == (1, 1):
        reflectance = {"type": "rgb", "value": [float(value) for value in pixels[0, 0]]}
    else:
        reflectance = {
            "type": "bitmap",
            "data": mitsuba.TensorXf(pixels),
            "raw": True,
            "to_uv": mitsuba.ScalarTransform4f().scale([*part.material.repeats, 1.0]),
        }
    return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": reflectance}}


def _is_good(scene: Scene, seen: dict[str, np.ndarray]) -> bool:
    """Whether the subject is what is seen most of, and there is something else to see."""
    things, counts = np.unique(seen["thing"], return_counts=True)
    share = dict(zip(things.tolist(), (counts / counts.sum()).tolist(), strict=True))
    objects = {i: s for i, s in share.items() if scene.things[i].label in OBJECT_CLASSES}
    return (
        scene.subject in objects
        and objects[scene.subject] == max(objects.values())
        and 0.03 <= objects[scene.subject] <= 0.6
        and max(share.values()) < 0.75
        and len(share) >= 4
        and float(seen["distance"].min()) > 0.3
    )
