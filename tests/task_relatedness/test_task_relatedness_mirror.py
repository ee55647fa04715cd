"""A mirrored room is what the mirrored camera sees."""

import numpy as np
import pytest
import torch

from task_relatedness.rooms.mirror import mirrored, mirrored_at_random
from task_relatedness.rooms.scenes.scene import Camera
from task_relatedness.rooms.truth.manhattan import room_layout, vanishing_points
from task_relatedness.tasks import TASKS
from task_relatedness.zoo import task_named
from tests.support.blob_rooms import blob_rooms
from tests.support.box_room import EXTENTS, box_room, random_camera

LEFT_FOR_RIGHT = np.diag([-1.0, 1.0, 1.0])


def seen(camera: Camera) -> dict[str, torch.Tensor]:
    distance, normal, _ = box_room(camera, 32)
    truth = {
        "depth_euclidean": distance[None],
        "normal": np.moveaxis(normal, -1, 0),
        "vanishing_point": vanishing_points(camera.rotation),
        "room_layout": room_layout(camera.position, camera.rotation, EXTENTS),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in truth.items()}


@pytest.mark.parametrize("seed", range(10))
def test_the_truth_of_a_mirrored_room_is_that_of_the_mirrored_camera(seed: int) -> None:
    camera = random_camera(seed)
    other = Camera(
        LEFT_FOR_RIGHT @ camera.position,
        LEFT_FOR_RIGHT @ camera.rotation @ LEFT_FOR_RIGHT,
        camera.field_of_view,
    )
    expected = seen(other)
    for name, truth in seen(camera).items():
        _, found = mirrored(task_named(name), torch.zeros(1, 3, 32, 32), truth[None])
        torch.testing.assert_close(found[0], expected[name], atol=1e-9, rtol=0)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_two_mirrors_give_the_room_back(task) -> None:
    rooms = blob_rooms(3)
    if task.name not in rooms.targets:
        pytest.skip("blobs have no such truth")
    images, targets = rooms.images, rooms.targets[task.name]
    once = mirrored(task, images, targets)
    assert torch.equal(once[0], images.flip(-1))
    twice = mirrored(task, *once)
    assert torch.equal(twice[0], images)
    assert torch.equal(twice[1], targets)


def test_about_half_of_the_rooms_are_mirrored_with_their_truth() -> None:
    task, numbers = task_named("autoencoding"), torch.arange(400.0).reshape(400, 1, 1, 1)
    images = numbers + torch.tensor([0.0, 0.5])
    found, truth = mirrored_at_random(
        task, images, images, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(found, truth)
    turned = found[:, 0, 0, 0] > found[:, 0, 0, 1]
    assert 160 < turned.sum() < 240
    assert torch.equal(found[turned].flip(-1), images[turned])
    assert torch.equal(found[~turned], images[~turned])
