"""A room turned by a quarter has other numbers, and is the same room."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from task_relatedness.symmetry import equivalents, nearest_squared_errors
from task_relatedness.truth.manhattan import box_corners, room_layout, vanishing_points


def camera(seed):
    """A camera that looks about, with pitch and roll, and the room it is in."""
    random = np.random.default_rng(seed)
    upright = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # the world's up is its third axis
    yaw, pitch, roll = random.uniform([-180, -25, -8], [180, 25, 8])
    turned = Rotation.from_euler("z", yaw, degrees=True).as_matrix() @ upright
    rotation = turned @ Rotation.from_euler("xz", [pitch, roll], degrees=True).as_matrix()
    position = random.uniform([-1, -1, 0.5], [1, 1, 2.5])
    return position, rotation, tuple(random.uniform(2.5, 6, 3))


def corners(layout):
    """The box's corners in one order, whatever its axes are called."""
    return np.array(sorted(box_corners(np.asarray(layout)).round(6).tolist()))


@pytest.mark.parametrize("seed", range(20))
def test_equivalent_layouts_are_one_box(seed):
    layout = room_layout(*camera(seed))
    found = equivalents("room_layout", torch.from_numpy(layout)[None])[0]
    np.testing.assert_allclose(found[0], layout)
    for other in found[1:]:
        np.testing.assert_allclose(corners(other), corners(layout), atol=2e-6)
    turns = found[:, 3:6] - found[0, 3:6]
    np.testing.assert_allclose(turns[:, 0], [0, 2, 4, -2])
    assert not turns[:, 1:].any()  # how the camera tilts has nothing to do with a name


@pytest.mark.parametrize("seed", range(20))
def test_equivalent_vanishing_points_are_the_same_axes(seed):
    points = torch.from_numpy(vanishing_points(camera(seed)[1]))[None]
    for right, up, forwards in equivalents("vanishing_point", points)[0].reshape(4, 3, 3):
        torch.testing.assert_close(torch.linalg.cross(right, up), -forwards)
        torch.testing.assert_close(up, points[0, 3:6])
        for axis in (right, forwards):
            cosines = (points.reshape(3, 3) @ axis).abs()
            assert cosines.max().item() == pytest.approx(1)


def test_cameras_to_both_sides_of_the_jump_see_nearly_one_room():
    """At a yaw of 45 degrees the truth's name changes; an answer may go on with the old one."""
    upright = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    for task in ("vanishing_point", "room_layout"):
        before, after = (
            vanishing_points(rotation)
            if task == "vanishing_point"
            else room_layout(np.array([0.2, 0.1, 1.5]), rotation, (3.0, 5.0, 2.5))
            for rotation in (
                Rotation.from_euler("z", yaw, degrees=True).as_matrix() @ upright
                for yaw in (44.9, 45.1)
            )
        )
        before, after = (torch.from_numpy(t)[None].float() for t in (before, after))
        assert (before - after).square().mean() > 0.1
        assert nearest_squared_errors(task, before, after).item() < 1e-4


def test_other_tasks_have_no_quarter_turns():
    with pytest.raises(ValueError, match="expected vanishing_point or room_layout"):
        equivalents("normal", torch.zeros(1, 9))
