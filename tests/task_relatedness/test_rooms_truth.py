"""Truth about rooms whose geometry is known in closed form, without a renderer."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from task_relatedness.rooms.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from task_relatedness.rooms.scenes.scene import Camera, looking_at
from task_relatedness.rooms.truth.curvature import principal_curvatures, scaled_curvatures
from task_relatedness.rooms.truth.depth import FARTHEST, NEAREST, log_depth, positions
from task_relatedness.rooms.truth.manhattan import (
    axes_of,
    box_corners,
    room_axes,
    room_layout,
    vanishing_points,
)
from task_relatedness.rooms.truth.occlusion import occlusion_edges
from task_relatedness.rooms.truth.segments import image_segments, surface_segments
from task_relatedness.rooms.truth.semantics import main_object, semantic_labels
from task_relatedness.rooms.truth.surface_keypoints import surface_keypoints
from task_relatedness.rooms.truth.texture_edges import texture_edges, texture_keypoints
from task_relatedness.rooms.truth.truths import truths
from task_relatedness.rooms.view import View
from tests.support.box_room import EXTENTS, box_room, random_camera

SIZE = 64


def ball(camera: Camera, size: int, centre: np.ndarray, radius: float):
    """Distances (infinite beside it), and normals, of a ball in the camera's frame."""
    rays = camera.rays(size)
    along = rays @ centre
    inside = along**2 - centre @ centre + radius**2
    distance = np.where(inside > 0, along - np.sqrt(np.maximum(inside, 0)), np.inf)
    normal = (np.where(np.isfinite(distance), distance, 0)[..., None] * rays - centre) / radius
    return distance, normal


def inner(mask: np.ndarray) -> np.ndarray:
    """The pixels of `mask` whose eight neighbours are of it too."""
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.all(
        [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0
    )


@pytest.mark.parametrize("seed", range(4))
def test_depth_along_the_axis_is_the_cosine_of_that_along_the_ray(seed: int) -> None:
    camera = random_camera(seed)
    distance, _, _ = box_room(camera, SIZE)
    z = -positions(distance, camera.rays(SIZE))[..., 2]
    edge = np.tan(np.radians(camera.field_of_view) / 2)
    u = (np.arange(SIZE) + 0.5 - SIZE / 2) / (SIZE / 2) * edge
    np.testing.assert_allclose(z * np.sqrt(1 + u[None, :] ** 2 + u[:, None] ** 2), distance)
    assert (z <= distance).all()


def test_depth_on_a_scale() -> None:
    scaled = log_depth(np.array([0.01, NEAREST, np.sqrt(NEAREST * FARTHEST), FARTHEST, 99.0]))
    np.testing.assert_allclose(scaled, [0, 0, 0.5, 1, 1], atol=1e-12)


@pytest.mark.parametrize("radius", [0.2, 0.5, 1.0])
def test_a_ball_bends_by_one_over_its_radius(radius: float) -> None:
    camera = Camera(np.zeros(3), np.eye(3), 60.0)
    distance, normal = ball(camera, SIZE, np.array([0.1, -0.2, -2.0]), radius)
    seen = np.isfinite(distance)
    # Behind it a wall at z = -4.
    wall = 4.0 / -camera.rays(SIZE)[..., 2]
    position = positions(np.where(seen, distance, wall), camera.rays(SIZE))
    normal = np.where(seen[..., None], normal, [0.0, 0.0, 1.0])
    curvatures = principal_curvatures(position, normal)
    middle = inner(inner(seen)) & ((-normal * camera.rays(SIZE)).sum(-1) > 0.5)
    assert middle.sum() > 20
    np.testing.assert_allclose(curvatures[middle], 1 / radius, rtol=0.02)
    # What the ball hides has no part in the wall's curvature, nor the wall in the ball's.
    np.testing.assert_allclose(curvatures[~seen], 0, atol=1e-6)


def test_a_cylinder_from_inside_bends_one_way_only() -> None:
    camera = Camera(np.zeros(3), np.eye(3), 60.0)
    rays = camera.rays(SIZE)
    distance = 1.5 / np.hypot(rays[..., 0], rays[..., 2])
    position = positions(distance, rays)
    normal = -position / 1.5 * [1.0, 0.0, 1.0]
    curvatures = principal_curvatures(position, normal)
    np.testing.assert_allclose(curvatures[..., 0], 0, atol=1e-3)
    np.testing.assert_allclose(curvatures[..., 1], -1 / 1.5, rtol=2e-3)


def test_curvatures_do_not_depend_on_how_the_scene_is_turned() -> None:
    camera = random_camera(3)
    distance, normal, _ = box_room(camera, SIZE)
    position = positions(distance, camera.rays(SIZE))
    turn = Rotation.random(random_state=5).as_matrix()
    np.testing.assert_allclose(
        principal_curvatures(position @ turn.T, normal @ turn.T),
        principal_curvatures(position, normal),
        atol=1e-6,
    )


@pytest.mark.parametrize("seed", range(4))
def test_walls_are_flat_and_their_meetings_concave(seed: int) -> None:
    camera = random_camera(seed)
    distance, normal, wall = box_room(camera, SIZE)
    curvatures = principal_curvatures(positions(distance, camera.rays(SIZE)), normal)
    flat = np.logical_or.reduce([inner(wall == number) for number in range(6)])
    np.testing.assert_allclose(curvatures[flat], 0, atol=1e-6)
    creases = np.zeros_like(flat)
    creases[1:-1, 1:-1] = ~flat[1:-1, 1:-1]
    assert (curvatures[creases][:, 1] < -1).mean() > 0.95
    assert np.abs(scaled_curvatures(curvatures)).max() <= 1


@pytest.mark.parametrize("seed", range(4))
def test_an_empty_room_hides_nothing(seed: int) -> None:
    camera = random_camera(seed)
    distance, normal, _ = box_room(camera, SIZE)
    assert occlusion_edges(positions(distance, camera.rays(SIZE)), normal).max() == 0


def test_occlusion_edges_are_the_outline_of_what_hides() -> None:
    camera = Camera(np.zeros(3), np.eye(3), 60.0)
    distance, normal = ball(camera, SIZE, np.array([0.0, 0.0, -2.0]), 0.5)
    seen = np.isfinite(distance)
    wall = 4.0 / -camera.rays(SIZE)[..., 2]
    position = positions(np.where(seen, distance, wall), camera.rays(SIZE))
    edges = occlusion_edges(position, np.where(seen[..., None], normal, [0.0, 0.0, 1.0]))
    beside = np.zeros_like(seen)
    beside[:, 1:] |= seen[:, 1:] != seen[:, :-1]
    beside[:, :-1] |= seen[:, 1:] != seen[:, :-1]
    beside[1:] |= seen[1:] != seen[:-1]
    beside[:-1] |= seen[1:] != seen[:-1]
    assert (edges[beside] > 0.99).all()
    assert edges[~beside].max() < 0.05


@pytest.mark.parametrize("seed", range(20))
def test_vanishing_points_are_the_walls_normals(seed: int) -> None:
    camera = random_camera(seed)
    _, normal, wall = box_room(camera, SIZE)
    points = vanishing_points(camera.rotation)
    assert points.shape == (5,)
    axes = axes_of(points).T
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    right, up, back = axes
    np.testing.assert_allclose(np.cross(right, up), back, atol=1e-12)
    assert up[1] > 0
    for number in np.unique(wall):
        along = np.abs(axes @ normal[wall == number][0])
        np.testing.assert_allclose(np.sort(along), [0, 0, 1], atol=1e-9)
    assert abs(float(up @ camera.rotation.T @ [0, 0, 1])) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(20))
def test_the_layout_is_the_box_that_is_seen(seed: int) -> None:
    camera = random_camera(seed)
    distance, _, _ = box_room(camera, SIZE)
    layout = room_layout(camera.position, camera.rotation, EXTENTS)
    corners = box_corners(layout)
    signs = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0, 1)])
    expected = (signs * EXTENTS - camera.position) @ camera.rotation
    gaps = np.linalg.norm(corners[:, None] - expected[None], axis=-1)
    np.testing.assert_allclose(gaps.min(0), 0, atol=1e-9)
    np.testing.assert_allclose(gaps.min(1), 0, atol=1e-9)
    # All that is seen lies on the box's sides.
    edges = (corners[[4, 2, 1]] - corners[0]).T
    inside = np.linalg.solve(
        edges, (positions(distance, camera.rays(SIZE)).reshape(-1, 3) - corners[0]).T
    )
    assert inside.min() > -1e-9
    assert inside.max() < 1 + 1e-9
    np.testing.assert_allclose(np.minimum(np.abs(inside), np.abs(1 - inside)).min(0), 0, atol=1e-9)
    yaw = np.degrees(np.arctan2(layout[6], layout[5])) / 4
    turn = Rotation.from_euler("XZY", [*layout[3:5] * 45, yaw], degrees=True).as_matrix()
    np.testing.assert_allclose(np.abs(turn.T @ room_axes(camera.rotation)[0]).max(0), 1)
    np.testing.assert_allclose(turn, axes_of(vanishing_points(camera.rotation)), atol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_a_room_turned_by_a_quarter_is_the_same_room(seed: int) -> None:
    camera = random_camera(seed)
    width, depth, height = EXTENTS
    turn = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    position, rotation = turn @ camera.position, turn @ camera.rotation
    np.testing.assert_allclose(
        room_layout(position, rotation, (depth, width, height)),
        room_layout(camera.position, camera.rotation, EXTENTS),
        atol=1e-9,
    )
    np.testing.assert_allclose(
        vanishing_points(rotation), vanishing_points(camera.rotation), atol=1e-9
    )


def test_a_camera_that_turns_a_little_sees_a_little_else() -> None:
    upright = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # the world's up is its third axis
    turns = np.linspace(0, 2 * np.pi, 1001)
    rotations = [Rotation.from_euler("z", turn).as_matrix() @ upright for turn in turns]
    layouts = [room_layout(np.array([0.2, 0.1, 1.5]), r, (3.0, 5.0, 2.5)) for r in rotations]
    for told in (layouts, [vanishing_points(rotation) for rotation in rotations]):
        assert np.abs(np.diff(told, axis=0)).max() < 0.03
        assert np.ptp(told, axis=0).max() > 1.9


def test_the_layout_of_a_camera_that_looks_straight_at_a_wall() -> None:
    camera = looking_at(np.array([0.0, -1.0, 1.0]), np.array([0.0, 1.0, 1.0]), 0.0, 60.0)
    layout = room_layout(camera.position, camera.rotation, (3.0, 4.0, 2.0))
    expected = [0, 0, -1 / 4, 0, 0, 1, 0, 2 / 4 - 1, 3.5 / 4 - 1, -1 / 4, 0]
    np.testing.assert_allclose(layout, expected, atol=1e-12)


def test_corners_of_the_room_are_key_points_and_walls_are_not() -> None:
    camera = looking_at(np.array([0.0, 0.0, 1.2]), np.array([1.9, 1.4, 2.6]), 0.0, 70.0)
    distance, normal, wall = box_room(camera, SIZE)
    heat = surface_keypoints(positions(distance, camera.rays(SIZE)), normal)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    around = wall[row - 3 : row + 4, column - 3 : column + 4]
    assert len(np.unique(around)) == 3
    sides = [wall == number for number in range(6)]
    for _ in range(6):
        sides = [inner(side) for side in sides]
    flat = np.logical_or.reduce(sides)
    assert flat.any()
    assert heat.max() > 20 * heat[flat].max()


def test_texture_edges_lie_where_brightness_steps() -> None:
    image = np.full((SIZE, SIZE, 3), 0.2)
    assert texture_edges(image).max() < 1e-9
    assert texture_keypoints(image).max() < 1e-9
    image[:, 40:] = 0.8
    edges = texture_edges(image)
    assert set(edges.argmax(1)) <= {39, 40}
    assert edges[:, :35].max() < 1e-3
    # A straight edge is no key point.
    assert texture_keypoints(image).max() < 1e-6


def test_texture_keypoints_lie_on_blobs() -> None:
    image = np.full((SIZE, SIZE, 3), 0.2)
    image[20:23, 44:47] = 0.9
    heat = texture_keypoints(image)
    assert np.unravel_index(heat.argmax(), heat.shape) == (21, 45)
    # As strong at the border as in the middle.
    rolled = np.roll(heat, (30, -30), (0, 1))
    np.testing.assert_allclose(
        rolled[20:, :40], texture_keypoints(np.roll(image, (30, -30), (0, 1)))[20:, :40], atol=1e-6
    )


def test_segments_of_an_image_are_its_fields() -> None:
    image = np.full((SIZE, SIZE, 3), 0.1)
    image[:32, 32:], image[32:, :32], image[32:, 32:] = (0.9, 0, 0), (0, 0.9, 0), (0, 0, 0.9)
    found = image_segments(image)
    assert found.dtype == np.int64
    for rows in (slice(0, 30), slice(34, 64)):
        for columns in (slice(0, 30), slice(34, 64)):
            assert len(np.unique(found[rows, columns])) == 1
    assert len({int(found[r, c]) for r in (5, 60) for c in (5, 60)}) == 4
    assert sorted(np.unique(found)) == list(range(found.max() + 1))


@pytest.mark.parametrize("seed", range(4))
def test_segments_of_surfaces_are_walls(seed: int) -> None:
    camera = random_camera(seed)
    distance, normal, wall = box_room(camera, SIZE)
    grey = np.full((SIZE, SIZE, 3), 0.5)
    found = surface_segments(grey, positions(distance, camera.rays(SIZE)), normal)
    pure = [np.bincount(wall[found == number]).max() for number in np.unique(found)]
    assert sum(pure) > 0.95 * SIZE * SIZE
    for number in range(6):
        if (wall == number).mean() > 0.05:
            assert np.bincount(found[wall == number]).max() > 0.9 * (wall == number).sum()


def test_the_main_object_is_the_largest_and_walls_do_not_count() -> None:
    labels = ("wall", "bed", "lamp", "lamp", "rug")
    thing = np.array([[0, 0, 0, 0], [1, 1, 2, 2], [3, 3, 3, 2], [4, 4, 4, 4]])
    assert OBJECT_CLASSES[main_object(thing, labels)] == "lamp"
    # Two lamps are not one large lamp: the bed has as many pixels as either.
    assert OBJECT_CLASSES[main_object(np.array([[1, 1, 2, 2, 3, 3]]), labels)] == "bed"
    names = [[SEMANTIC_CLASSES[i] for i in row] for row in semantic_labels(thing, labels)]
    assert names[2] == ["lamp", "lamp", "lamp", "lamp"]
    with pytest.raises(ValueError, match="at least one object"):
        main_object(np.array([[0, 4]]), labels)


def test_the_classes_fit_the_published_decoder() -> None:
    assert len(SEMANTIC_CLASSES) == len(set(SEMANTIC_CLASSES)) == 17
    assert set(OBJECT_CLASSES) < set(SEMANTIC_CLASSES)


def test_truth_that_is_not_finite_is_refused() -> None:
    camera = random_camera(1)
    distance, normal, wall = box_room(camera, 32)
    normal = normal.astype(np.float32)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    labels = ("wall", "wall", "floor", "ceiling", "bed", "wall")
    view = View(image, image, distance, normal, wall, labels, camera, EXTENTS)
    view.normal[3, 4] = np.nan
    with pytest.raises((ValueError, np.linalg.LinAlgError)):
        truths(view)
