import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from scipy.spatial.distance import squareform

from modelgif.reporting.figure import (
    distributions,
    heat_map,
    roc,
    save_figure,
    similarity_tree,
    ward_linkage,
)

GOLDEN = Path(__file__).parents[1] / "golden"
# Two pairs, (a, c) and (b, d), at 0.2 and 0.4, and 1.2 apart in the mean.
PAIRS = squareform([1.2, 0.2, 1.1, 1.2, 0.4, 1.3])
GROUPS = ["first", "second"] * 2
# The authors' names of the tasks, in the order of their matrix.
TASKS = [
    *("Autoencoder", "Curvature", "Denoise", "Edge 2D", "Edge 3D", "Keypoint 2D", "Keypoint 3D"),
    *("Reshade", "Rgb2depth", "Rgb2mist", "Rgb2sfnorm", "Room Layout", "Segment25D", "Segment2D"),
    *("Vanishing Point", "Segment Semantic", "Class 1000"),
]


def random_zoo(n_models: int) -> np.ndarray:
    n_pairs = n_models * (n_models - 1) // 2
    return squareform(np.random.default_rng(0).uniform(0.1, 1.5, n_pairs))


def texts(labels: list) -> list[str]:
    return [label.get_text() for label in labels]


def points(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xydata())


def paths(axes: Axes) -> list[np.ndarray]:
    drawn = [item for item in axes.collections if isinstance(item, LineCollection)]
    return [np.asarray(path.vertices) for item in drawn for path in item.get_paths()]


def joints(axes: Axes) -> list[float]:
    return sorted(path[:, 0].max() for path in paths(axes))


def legend(figure: Figure) -> list[str]:
    return [text for box in figure.legends for text in texts(box.get_texts())]


def colours(axes: Axes) -> list[str]:
    return [to_hex(label.get_color()) for label in axes.get_yticklabels()]


def is_inside(figure: Figure) -> bool:
    # What is drawn, legends and labels included, stays on the page.
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(box.x0, box.y0) >= 0 and box.x1 <= width and box.y1 <= height


def test_heat_map_shows_the_matrix_as_given() -> None:
    before = PAIRS.copy()
    figure = heat_map(PAIRS, list("abcd"))
    np.testing.assert_array_equal(PAIRS, before)
    axes, bar = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), PAIRS)
    assert axes.images[0].get_clim() == (0.2, 1.3)
    assert bar.get_ylabel() == "distance 1 − cos"
    assert texts(axes.get_xticklabels()) == texts(axes.get_yticklabels()) == list("abcd")
    assert [*axes.lines, *figure.legends] == []


def test_heat_map_puts_groups_together_parts_and_colours_them() -> None:
    figure = heat_map(PAIRS, list("abcd"), groups=GROUPS)
    axes, order = figure.axes[0], [0, 2, 1, 3]
    np.testing.assert_array_equal(axes.images[0].get_array(), PAIRS[np.ix_(order, order)])
    assert texts(axes.get_xticklabels()) == texts(axes.get_yticklabels()) == list("acbd")
    across, along = map(points, axes.lines)
    assert set(across[:, 1]) == set(along[:, 0]) == {1.5}
    inks = colours(axes)
    assert inks[0] == inks[1] != inks[2] == inks[3]
    keys = [to_hex(patch.get_facecolor()) for patch in figure.legends[0].get_patches()]
    assert (legend(figure), keys) == (["first", "second"], [inks[0], inks[2]])


def test_the_diagonal_is_grey_only_below_the_other_distances() -> None:
    twins = np.where(PAIRS == 0.2, 0, PAIRS)
    for matrix, colour, extend in ((PAIRS, "#d9d9d9", "min"), (twins, "#440154", "neither")):
        image = heat_map(matrix, list("abcd")).axes[0].images[0]
        assert to_hex(tuple(image.to_rgba(np.zeros(1))[0])) == colour
        assert getattr(image.colorbar, "extend", None) == extend


def test_labels_too_small_to_read_give_way_to_group_names() -> None:
    labels, groups = [f"model {i}" for i in range(160)], ["few"] * 40 + ["many"] * 120
    axes = heat_map(random_zoo(160), labels, groups=groups).axes[0]
    assert texts(axes.get_yticklabels()) == ["few", "many"]
    assert list(axes.get_yticks()) == [19.5, 99.5]
    assert texts(heat_map(random_zoo(160), labels).axes[0].get_xticklabels()) == ["160 models"]
    assert texts(heat_map(random_zoo(100), labels[:100]).axes[0].get_xticklabels()) == labels[:100]


@pytest.mark.slow
@pytest.mark.parametrize("n_models", [4, 18, 80, 160])
def test_nothing_is_drawn_off_the_page(n_models: int) -> None:
    groups = [f"a rather long group {10 * i // n_models}" for i in range(n_models)]
    labels = [f"resnet18_extracted_{i:03d}" for i in range(n_models)]
    assert is_inside(heat_map(random_zoo(n_models), labels, groups=groups))
    assert is_inside(similarity_tree(random_zoo(n_models), labels, groups=groups))


def test_published_tree_is_the_authors() -> None:
    distances = pd.read_csv(GOLDEN / "modelgif_affinity.csv", index_col=0).to_numpy()
    golden = json.loads((GOLDEN / "similarity_tree.json").read_text())
    links = np.array(golden["linkage"])
    np.testing.assert_allclose(ward_linkage(distances), links, rtol=1e-9)
    axes = similarity_tree(distances, TASKS, kind="published").axes[0]
    assert texts(axes.get_yticklabels()) == golden["leaves"]
    # The first leaf stands on top, and the joints stand where the linkage says.
    assert axes.yaxis_inverted()
    np.testing.assert_allclose(joints(axes), links[:, 2], rtol=1e-9)


def test_default_tree_joins_at_mean_distances() -> None:
    for matrix in (PAIRS, PAIRS.astype(np.float32)):
        figure = similarity_tree(matrix, list("abcd"), groups=GROUPS)
        axes = figure.axes[0]
        np.testing.assert_allclose(joints(axes), [0.2, 0.4, 1.2], rtol=1e-6)
        leaves = texts(axes.get_yticklabels())
        assert {frozenset(leaves[:2]), frozenset(leaves[2:])} == {frozenset("ac"), frozenset("bd")}
        inks = dict(zip(leaves, colours(axes), strict=True))
        assert inks["a"] == inks["c"] != inks["b"] == inks["d"]
        assert legend(figure) == ["first", "second"]
        branch_ends = {y for path in paths(axes) for x, y in path if x == 0}
        assert branch_ends == set(axes.get_yticks())
    assert joints(similarity_tree(np.zeros((3, 3)), list("abc")).axes[0]) == [0, 0]


@pytest.mark.parametrize("draw", [heat_map, similarity_tree])
def test_matrices_that_do_not_fit_are_refused(draw: Callable[..., Figure]) -> None:
    broken = PAIRS.copy()
    broken[1, 2] = np.nan
    for matrix, labels, groups, message in [
        (PAIRS[:3], "abcd", None, r"4 labels need distances \[M, M\], M > 1; got \(3, 4\)"),
        (PAIRS, "abc", None, r"3 labels need distances .* got \(4, 4\)"),
        ([[0.0]], "a", None, r"1 labels need"),
        (broken, "abcd", None, "finite, got nan between 'b' and 'c'"),
        (PAIRS, "abcd", "xyz", "`groups` must have 4 entries and at most 10 names, got 3 and 3"),
        (random_zoo(11), "abcdefghijk", "abcdefghijk", "at most 10 names, got 11 and 11"),
    ]:
        with pytest.raises(ValueError, match=message):
            draw(matrix, list(labels), groups=groups and list(groups))


def test_matrices_that_make_no_tree_are_refused() -> None:
    with pytest.raises(ValueError, match=r"distances below 1, got 1\.3; use kind='average'"):
        similarity_tree(PAIRS, list("abcd"), kind="published")
    with pytest.raises(ValueError, match="distances below 1, got 1;"):
        ward_linkage([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"symmetric, got mirror entries 1\.3 apart"):
        similarity_tree(np.triu(PAIRS), list("abcd"))
    with pytest.raises(ValueError, match="'average' or 'published', got 'ward'"):
        similarity_tree(PAIRS, list("abcd"), kind="ward")  # type: ignore[arg-type]


def test_roc_draws_curves_whose_area_is_the_auc_of_the_legend() -> None:
    # By counting pairs: 5 of 6 in order; 3 of 4 and a tie; the first turned round.
    near, far = [0.1, 0.2, 0.3], [0.25, 0.4]
    figure = roc({"plain": (near, far), "tied": (near[:2], near[1:]), "turned": (far, near)})
    assert legend(figure) == [
        "plain: AUC 0.833 (3 positives, 2 negatives)",
        "tied: AUC 0.875 (2 positives, 2 negatives)",
        "turned: AUC 0.167 (2 positives, 3 negatives)",
    ]
    lines = [line for line in figure.axes[0].lines if "AUC" in str(line.get_label())]
    areas = [np.trapezoid(points(line)[:, 1], points(line)[:, 0]) for line in lines]
    np.testing.assert_allclose(areas, [5 / 6, 3.5 / 4, 1 / 6])
    steps = [[0, 0], [0, 1 / 3], [0, 2 / 3], [0.5, 2 / 3], [0.5, 1], [1, 1]]
    np.testing.assert_allclose(points(lines[0]), steps)
    assert len({line.get_color() for line in lines}) == 3
    assert is_inside(figure)


def test_samples_that_make_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one method, got none"):
        roc({})
    with pytest.raises(ValueError, match="at least one group, got none"):
        distributions({})
    with pytest.raises(ValueError, match="negatives of 'sac' must be at least one finite number"):
        roc({"sac": ([0.1], [])})
    with pytest.raises(ValueError, match=r"positives of 'sac' must be .* got .*nan"):
        roc({"sac": ([0.1, float("nan")], [0.3])})
    with pytest.raises(ValueError, match="distances of 'victim' must be at least one finite"):
        distributions({"victim": []})


def test_distributions_shows_every_model_in_its_strip() -> None:
    groups = {"derived": [0.3, 0.1, 0.2, 0.9], "independent": [0.8, 0.7, 0.95]}
    figure = distributions(groups, threshold=0.5)
    axes = figure.axes[0]
    assert texts(axes.get_yticklabels()) == ["derived (n = 4)", "independent (n = 3)"]
    assert axes.yaxis_inverted()
    assert axes.get_xlabel() == "distance 1 − cos to the victim"
    dots = [item for item in axes.collections if isinstance(item, PathCollection)]
    for row, (item, values) in enumerate(zip(dots, groups.values(), strict=True)):
        strip = np.asarray(item.get_offsets())
        np.testing.assert_array_equal(strip[:, 0], sorted(values))
        assert (abs(strip[:, 1] - row) <= 0.25).all()
        assert len(set(strip[:, 1])) == len(values)
    assert [path[0][0] for path in paths(axes)] == [0.25, 0.8]
    assert [points(line)[:, 0].tolist() for line in axes.lines] == [[0.5, 0.5]]
    assert texts(list(axes.texts)) == [" threshold 0.5"]
    assert is_inside(figure)
    assert not distributions(groups).axes[0].lines


def test_saved_figures_are_white_and_equal_to_the_byte(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_figure(heat_map(PAIRS, list("abcd"), groups=GROUPS), tmp_path / "figures" / name)
    first, second = (tmp_path / "figures" / name for name in ("a.png", "b.png"))
    assert first.read_bytes() == second.read_bytes()
    assert b"Software" not in first.read_bytes()
    pixels = imread(first)
    size = heat_map(PAIRS, list("abcd")).get_size_inches()
    assert pixels.shape[:2] == (int(150 * size[1]), int(150 * size[0]))
    np.testing.assert_array_equal(pixels[0, 0], 1)


@pytest.mark.slow
def test_pyplot_is_never_loaded() -> None:
    program = (
        "import sys; from modelgif.reporting.figure import *\n"
        "for draw in heat_map, similarity_tree: draw([[0, 1], [1, 0]], 'ab')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
