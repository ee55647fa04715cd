"""Random rooms as plain data; nothing here needs a renderer."""

from collections import Counter

import numpy as np
import pytest

from task_relatedness.rooms.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from task_relatedness.rooms.exposure import developed
from task_relatedness.rooms.scenes.furniture import FURNITURE
from task_relatedness.rooms.scenes.random_scene import random_scene
from task_relatedness.rooms.scenes.scene import Camera, Material, Part, Scene, looking_at
from task_relatedness.rooms.scenes.texture import texture

SCENES = [random_scene(3, index) for index in range(40)]


def corners(part: Part) -> np.ndarray:
    signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return (0.5 * signs * part.size) @ part.pose[:3, :3].T + part.pose[:3, 3]


def facts(scene: Scene) -> str:
    """Everything in it, to the last digit."""
    with np.printoptions(floatmode="unique", threshold=10**9):
        return repr(scene)


def test_a_room_depends_on_seed_index_and_attempt_alone() -> None:
    assert facts(random_scene(3, 7)) == facts(SCENES[7])
    others = [random_scene(3, 8), random_scene(4, 7), random_scene(3, 7, attempt=1)]
    assert len({facts(scene) for scene in [SCENES[7], *others]}) == 4
    # A room without a good view is replaced by one about the same kind of thing.
    kinds = {
        scene.things[scene.subject].label
        for scene in (random_scene(3, 7, attempt) for attempt in range(5))
        if scene.subject is not None
    }
    assert len(kinds) == 1


def test_everything_is_in_the_room() -> None:
    for scene in SCENES:
        low = np.array([-scene.extents[0] / 2, -scene.extents[1] / 2, 0])
        for thing in scene.things:
            assert thing.label in SEMANTIC_CLASSES
            for part in thing.parts:
                rotation = part.pose[:3, :3]
                np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
                assert np.linalg.det(rotation) == pytest.approx(1)
                assert (corners(part) > low - 0.12).all(), thing.label
                assert (corners(part) < low + scene.extents + 0.12).all(), thing.label


def test_cameras_stand_free_and_look_at_the_subject() -> None:
    for scene in SCENES:
        for camera in scene.cameras:
            half = np.array(scene.extents[:2]) / 2
            assert (np.abs(camera.position[:2]) < half - 0.2).all()
            assert 0.5 < camera.position[2] < scene.extents[2] - 0.3
            np.testing.assert_allclose(camera.rotation.T @ camera.rotation, np.eye(3), atol=1e-12)
            assert np.linalg.det(camera.rotation) == pytest.approx(1)
            subject = np.concatenate([corners(part) for part in scene.things[scene.subject].parts])
            middle = ((subject.min(0) + subject.max(0)) / 2 - camera.position) @ camera.rotation
            assert middle[2] < 0
            for thing in scene.things:
                for part in thing.parts:
                    inside = (camera.position - part.pose[:3, 3]) @ part.pose[:3, :3]
                    assert (np.abs(inside) >= np.array(part.size) / 2).any(), thing.label


def test_every_class_of_object_is_a_subject_now_and_then() -> None:
    subjects = Counter(
        scene.things[scene.subject].label
        for scene in (random_scene(0, index) for index in range(150))
        if scene.subject is not None
    )
    assert set(subjects) == set(OBJECT_CLASSES)
    assert min(subjects.values()) > 4


@pytest.mark.parametrize("name", FURNITURE)
def test_furniture_keeps_to_its_footprint(name: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        piece = FURNITURE[name](rng)
        assert piece.thing.label == name
        points = np.concatenate([corners(part) for part in piece.thing.parts])
        reach = np.abs(points[:, :2]).max(0)
        assert (reach <= np.array(piece.footprint) / 2 + 0.08).all()
        assert points[:, 2].min() > -1e-9
        assert points[:, 2].max() <= piece.height + 0.2


PATTERNS = ("checker", "stripes", "noise", "wood", "tiles", "dots", "painting")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_textures_mix_their_colours(pattern: str) -> None:
    material = Material(pattern, ((0.1, 0.2, 0.3), (0.9, 0.6, 0.3)), seed=4)
    pixels = texture(material)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert pixels.std() > 0.01
    np.testing.assert_array_equal(pixels, texture(material))
    if pattern != "painting":
        share = (pixels[..., 0] - 0.1) / 0.8
        np.testing.assert_allclose(pixels[..., 1], 0.2 + 0.4 * share, atol=1e-6)


def test_smooth_textures_repeat_without_a_seam() -> None:
    pixels = texture(Material("noise", ((0.0,) * 3, (1.0,) * 3), seed=2)).astype(float)
    for axis in (0, 1):
        steps = np.abs(np.diff(pixels, axis=axis)).max()
        seam = np.abs(pixels.take(0, axis) - pixels.take(-1, axis)).max()
        assert seam < 1.5 * steps


def test_rays_of_a_camera() -> None:
    camera = Camera(np.zeros(3), np.eye(3), 90.0)
    rays = camera.rays(4)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1)
    # The first row is up, the first column left; pixels are met in the middle.
    np.testing.assert_allclose(rays[0, 0] / -rays[0, 0, 2], [-0.75, 0.75, -1])
    np.testing.assert_allclose(rays[3, 2] / -rays[3, 2, 2], [0.25, -0.75, -1])


def test_a_camera_sees_in_its_middle_what_it_looks_at() -> None:
    position, at = np.array([1.0, 2.0, 1.5]), np.array([-1.0, 0.5, 0.7])
    for roll in (0.0, 0.3):
        camera = looking_at(position, at, roll, 60.0)
        seen = (at - position) @ camera.rotation
        np.testing.assert_allclose(seen[:2], 0, atol=1e-12)
        assert seen[2] < 0
        np.testing.assert_allclose(camera.rotation.T @ camera.rotation, np.eye(3), atol=1e-12)
        up = camera.rotation.T @ [0, 0, 1]
        assert np.arctan2(up[0], up[1]) == pytest.approx(roll)


def test_developing_ignores_lamps_and_speckles() -> None:
    rng = np.random.default_rng(0)
    light = rng.uniform(0.2, 0.4, (32, 32, 3))
    dull = developed(light, np.zeros((32, 32), bool))
    assert dull.dtype == np.uint8
    lamp = np.zeros((32, 32), bool)
    lamp[:10, :10] = True
    bright = light.copy()
    bright[lamp] = 50.0
    np.testing.assert_allclose(developed(bright, lamp)[12:].mean(), dull[12:].mean(), rtol=0.02)
    assert (developed(bright, lamp)[:9, :9] == 255).all()
    speckled = light.copy()
    speckled[20, 20] = 1000.0
    assert developed(speckled, lamp)[20, 20].max() < 255
    # A linear scale of all light changes nothing.
    np.testing.assert_array_equal(developed(7 * light, lamp), developed(light, lamp))
