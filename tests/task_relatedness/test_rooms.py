"""Rendering rooms, their files, and loading them."""

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import binary_erosion

from modelgif.storage.tensor_file import SealedFileError
from task_relatedness.config import RoomsConfig
from task_relatedness.rooms import contact_sheet as sheet
from task_relatedness.rooms import render
from task_relatedness.rooms.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from task_relatedness.rooms.contact_sheet import contact_sheet
from task_relatedness.rooms.data_set import Rooms, load_rooms
from task_relatedness.rooms.files import RoomSet, read_truth, read_views
from task_relatedness.rooms.render import render_rooms
from task_relatedness.rooms.scenes.primitives import ball, panel
from task_relatedness.rooms.scenes.scene import Material, Scene, Thing, looking_at
from task_relatedness.rooms.scenes.trace import load_scene, require_mitsuba, trace_room
from task_relatedness.tasks import TASKS
from tests.support.box_room import EXTENTS, box_room, random_camera

SIZE, SAMPLES, COUNT = 32, 4, 6


def room_set(folder: Path, **changes) -> RoomSet:
    usual = RoomSet(str(folder), seed=5, size=SIZE, samples=SAMPLES, per_file=3)
    return replace(usual, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RoomSet:
    rooms = room_set(tmp_path_factory.mktemp("rooms"))
    render_rooms(rooms, COUNT, workers=1)
    return rooms


def digests(rooms: RoomSet) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(rooms.folder).rglob("*.safetensors"))
    }


def empty_room() -> Scene:
    """Six white sides and a lamp."""
    white = Material("plain", ((0.8, 0.8, 0.8),) * 2)
    x, y, z = EXTENTS
    sides = [
        panel((-x / 2, 0, z / 2), (1, 0, 0), (y, z), white),
        panel((x / 2, 0, z / 2), (-1, 0, 0), (y, z), white),
        panel((0, -y / 2, z / 2), (0, 1, 0), (x, z), white),
        panel((0, y / 2, z / 2), (0, -1, 0), (x, z), white),
        panel((0, 0, 0), (0, 0, 1), (x, y), white),
        panel((0, 0, z), (0, 0, -1), (x, y), white),
    ]
    things = [Thing("wall", (side,)) for side in sides]
    return Scene(EXTENTS, tuple(things), None, ())


@pytest.mark.parametrize("seed", range(5))
def test_what_is_traced_is_what_geometry_says(seed: int) -> None:
    camera = random_camera(seed)
    seen = load_scene(empty_room()).see(camera, SIZE)
    distance, normal, wall = box_room(camera, SIZE)
    np.testing.assert_allclose(seen["distance"], distance, rtol=1e-5)
    np.testing.assert_allclose(seen["normal"], normal, atol=1e-6)
    np.testing.assert_array_equal(seen["thing"], wall)
    np.testing.assert_array_equal(seen["albedo"], 204)


def test_light_falls_off_as_it_should() -> None:
    """A small lamp over a black floor: brightness goes as the cosine to the fourth power."""
    black = Material("plain", ((0.0, 0.0, 0.0),) * 2)
    grey = Material("plain", ((0.5, 0.5, 0.5),) * 2)
    x, y, _ = EXTENTS
    sides = [
        replace(thing, parts=tuple(replace(part, material=black) for part in thing.parts))
        for thing in empty_room().things
    ]
    sides[4] = Thing("floor", (panel((0, 0, 0), (0, 0, 1), (x, y), grey),))
    lamp = ball((0, 0, 2.0), 0.05, black, (1.0, 1.0, 1.0))
    loaded = load_scene(Scene(EXTENTS, (*sides, Thing("lamp", (lamp,))), None, ()))
    camera = looking_at(np.array([0.3, -1.2, 1.5]), np.array([0.0, 0.0, 0.0]), 0.0, 60.0)
    light = loaded.light(camera, SIZE, 64, 1)
    distance, _, _ = box_room(camera, SIZE)
    points = camera.position + distance[..., None] * (camera.rays(SIZE) @ camera.rotation.T)
    cosine = 2.0 / np.linalg.norm(points - [0, 0, 2.0], axis=-1)
    # Radiance of a grey floor under a sphere of radiance 1: albedo sin^2(half angle) cos.
    expected = 0.5 * (0.05 * cosine / 2.0) ** 2 * cosine
    # Pixels at the floor's border see the black walls too.
    floor = binary_erosion(loaded.see(camera, SIZE)["thing"] == 4)
    assert floor.sum() > 300
    np.testing.assert_allclose(light[floor].mean(-1), expected[floor], rtol=0.1)
    assert light[floor].mean() == pytest.approx(expected[floor].mean(), rel=0.01)


def test_a_room_is_the_same_each_time_and_whatever_is_rendered_before() -> None:
    first = trace_room(5, 1, SIZE, SAMPLES)
    trace_room(5, 0, SIZE, SAMPLES)
    second = trace_room(5, 1, SIZE, SAMPLES)
    for name in ("image", "albedo", "distance", "normal", "thing"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    # The size changes how it is seen, not what.
    bigger = trace_room(5, 1, 2 * SIZE, SAMPLES)
    assert bigger.labels == first.labels
    np.testing.assert_array_equal(bigger.camera.rotation, first.camera.rotation)
    pooled = bigger.image.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    assert np.corrcoef(pooled.ravel(), first.image.ravel())[0, 1] > 0.8


def test_the_same_bytes_whatever_the_number_of_workers(made: RoomSet, tmp_path: Path) -> None:
    other = room_set(tmp_path)
    render_rooms(other, COUNT, workers=2)
    assert len(digests(made)) == 4
    assert digests(other) == digests(made)


def test_a_bigger_set_begins_with_the_smaller(made: RoomSet) -> None:
    alone = trace_room(5, 4, SIZE, SAMPLES)
    np.testing.assert_array_equal(alone.image, read_views(made, 1)[1].image)
    assert list(made.numbers(3)) == [0]
    assert list(made.numbers(4)) == [0, 1]


def test_what_is_missing_or_damaged_is_made_again_and_the_rest_kept(
    made: RoomSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.folder, tmp_path / "copy")
    copy = room_set(tmp_path / "copy")
    views, truth = copy.views_path(1), copy.truth_path(0)
    views.unlink()
    damaged = bytearray(truth.read_bytes())
    damaged[-100] ^= 1
    truth.write_bytes(damaged)
    with pytest.raises(SealedFileError, match="damaged"):
        read_truth(copy, 0)
    traced = []
    real = render.trace_room
    monkeypatch.setattr(
        render, "trace_room", lambda *which: (traced.append(which[1]), real(*which))[1]
    )
    render_rooms(copy, COUNT, workers=1)
    assert traced == [3, 4, 5]
    assert digests(copy) == digests(made)
    traced.clear()
    render_rooms(copy, COUNT, workers=1)
    assert traced == []


def test_files_of_other_rooms_are_not_taken_for_these(made: RoomSet, tmp_path: Path) -> None:
    other = room_set(tmp_path, seed=6)
    other.views_path(0).parent.mkdir(parents=True)
    shutil.copy(made.views_path(0), other.views_path(0))
    with pytest.raises(SealedFileError, match="expected seed 6, got 5"):
        read_views(other, 0)
    with pytest.raises(SealedFileError, match="expected rooms"):
        read_views(room_set(Path(made.folder), per_file=2), 0)


def test_views_survive_their_file(made: RoomSet) -> None:
    view, read = trace_room(5, 2, SIZE, SAMPLES), read_views(made, 0)[2]
    for name in ("image", "albedo", "distance", "normal", "thing"):
        np.testing.assert_array_equal(getattr(read, name), getattr(view, name))
        assert getattr(read, name).dtype == getattr(view, name).dtype
    assert (read.labels, read.extents) == (view.labels, view.extents)
    np.testing.assert_array_equal(read.camera.position, view.camera.position)
    np.testing.assert_array_equal(read.camera.rays(8), view.camera.rays(8))


@pytest.fixture(scope="module")
def loaded(made: RoomSet) -> Rooms:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "task_relatedness.rooms.data_set.RoomSet", lambda *which: RoomSet(*which, per_file=3)
        )
        config = RoomsConfig(
            folder=made.folder,
            size=SIZE,
            samples=SAMPLES,
            n_train=2,
            n_transfer=1,
            n_test=1,
            n_references=1,
        )
        return load_rooms(config, 5, render=False)


def test_rooms_have_the_truth_of_all_tasks_in_its_form(loaded: Rooms) -> None:
    assert loaded.images.shape == (5, 3, SIZE, SIZE)
    assert loaded.images.dtype == torch.float32
    assert loaded.images.min() >= 0
    assert loaded.images.max() <= 1
    assert list(loaded.targets) == [task.name for task in TASKS]
    for task in TASKS:
        target = loaded.targets[task.name]
        if task.form in ("image", "vector"):
            assert target.dtype == torch.float32
            assert (
                target.shape == (5, task.channels, SIZE, SIZE)[: 4 if task.form == "image" else 2]
            )
            assert target.isfinite().all()
            assert target.abs().max() <= 2
            assert target.std() > 0.03, task.name
        else:
            assert target.dtype == torch.int64
            assert target.shape == ((5,) if task.form == "class" else (5, SIZE, SIZE))
            assert target.min() >= 0
    assert loaded.classes == {
        "segment_semantic": SEMANTIC_CLASSES,
        "class_object": OBJECT_CLASSES,
    }
    assert loaded.targets["segment_semantic"].max() < len(SEMANTIC_CLASSES)
    assert loaded.targets["class_object"].max() < len(OBJECT_CLASSES)
    torch.testing.assert_close(loaded.targets["autoencoding"], loaded.images)
    torch.testing.assert_close(loaded.targets["denoising"], loaded.images)


def test_truths_of_a_room_agree_with_each_other(loaded: Rooms) -> None:
    targets = loaded.targets
    length = targets["normal"].norm(dim=1)
    torch.testing.assert_close(length, torch.ones_like(length), atol=2e-3, rtol=0)
    assert (targets["depth_euclidean"] >= targets["depth_zbuffer"] - 1e-3).all()
    # Floors look up and ceilings down: along the vanishing point of the vertical.
    up = targets["vanishing_point"][:, :3]
    rise = torch.einsum("nchw,nc->nhw", targets["normal"], up)
    semantic = targets["segment_semantic"]
    for label, expected in (("floor", 1.0), ("ceiling", -1.0), ("wall", 0.0)):
        there = rise[semantic == SEMANTIC_CLASSES.index(label)]
        if len(there):
            torch.testing.assert_close(there, torch.full_like(there, expected), atol=5e-3, rtol=0)
    # The object that the image is of is in the image.
    for main, labels in zip(targets["class_object"], semantic, strict=True):
        assert SEMANTIC_CLASSES.index(OBJECT_CLASSES[main]) in labels


def test_rows_of_rooms(loaded: Rooms) -> None:
    for rows in (slice(1, 3), torch.tensor([1, 2])):
        some = loaded.rows(rows)
        assert torch.equal(some.images, loaded.images[1:3])
        assert all(
            torch.equal(some.targets[name], loaded.targets[name][1:3]) for name in some.targets
        )
        assert some.classes == loaded.classes


def test_loading_names_what_is_wrong(tmp_path: Path) -> None:
    config = RoomsConfig(folder=str(tmp_path), n_train=1, n_transfer=1, n_test=1, n_references=1)
    with pytest.raises(ValueError, match="unknown tasks: colour; known: autoencoding"):
        load_rooms(config, 0, tasks=("colour",))
    with pytest.raises(SealedFileError, match="there is no such file of"):
        load_rooms(config, 0, render=False)


def test_rendering_without_mitsuba_says_what_to_install(
    made: RoomSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    require_mitsuba.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"needs Mitsuba 3: pip install '\.\[rooms\]'"):
            render_rooms(room_set(tmp_path), 1, workers=1)
        # What is there needs no renderer.
        render_rooms(made, COUNT, workers=1)
        result = CliRunner().invoke(
            render.main, ["--count", "1", "--folder", str(tmp_path / "other")]
        )
        assert result.exit_code == 1
        assert "Error: rendering rooms needs Mitsuba 3" in result.output
        assert list(tmp_path.iterdir()) == []
    finally:
        require_mitsuba.cache_clear()


def test_the_contact_sheet_shows_every_task(made: RoomSet) -> None:
    picture = np.asarray(contact_sheet(made, 2))
    tile, gap, head = sheet._TILE, sheet._GAP, sheet._HEAD
    assert picture.shape == (head + 2 * (tile + gap), 18 * (tile + gap) + gap, 3)
    for row in range(2):
        shown = read_views(made, 0)[row].image.repeat(tile // SIZE, 0).repeat(tile // SIZE, 1)
        at = head + row * (tile + gap)
        np.testing.assert_array_equal(picture[at : at + tile, gap : gap + tile], shown)
        for column in range(18):
            left = gap + column * (tile + gap)
            assert picture[at : at + tile, left : left + tile].std() > 5


def test_the_contact_sheet_is_written_by_a_command(
    made: RoomSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "RoomSet", lambda *which: RoomSet(*which, per_file=3))
    result = CliRunner().invoke(
        sheet.main,
        [
            *("--folder", made.folder, "--count", "1", "--size", str(SIZE)),
            *("--samples", str(SAMPLES), "--seed", "5", "-o", str(tmp_path / "sheet.png")),
        ],
    )
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_files_state_what_they_hold(made: RoomSet) -> None:
    with made.views_path(1).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        seal = json.loads(json.loads(file.read(length))["__metadata__"]["seal"])
    header = json.loads(seal["header"])
    assert header["rooms"] == [3, 4, 5]
    assert (header["seed"], header["size"], header["samples"]) == (5, SIZE, SAMPLES)
