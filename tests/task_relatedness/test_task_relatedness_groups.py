"""Groups of tasks in distances and trees."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from task_relatedness.statistics.groups import (
    GROUPS,
    affinity_distance,
    best_overlap,
    group_distance,
    group_measurements,
    rand_index,
    separation,
    separation_p,
    tree,
    tree_kind,
)

NAMES = [*"aaaaa", *"bbbb", *"cc"]


def blocks(generator, *, apart):
    """Symmetric distances: random, and farther between groups by `apart`."""
    matrix = 0.2 * generator.random((len(NAMES), len(NAMES)))
    matrix = (matrix + matrix.T) / 2 + 0.1 + apart * group_distance(NAMES)
    np.fill_diagonal(matrix, 0)
    return matrix


def test_the_plainest_distance_knows_groups_alone():
    np.testing.assert_array_equal(group_distance("aab"), [[0, 0, 1], [0, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize("kind", ["average", "published"])
def test_planted_groups_are_found(kind):
    order = np.random.default_rng(1).permutation(len(NAMES))
    matrix = blocks(np.random.default_rng(0), apart=0.5)[np.ix_(order, order)]
    names = [NAMES[i] for i in order]
    links = tree(matrix, kind)
    assert rand_index(links, names) == 1
    assert best_overlap(links, names) == dict.fromkeys("abc", 1.0)
    assert separation(matrix, names) == 1
    assert separation_p(matrix, names, n_permutations=500, seed=0) <= 2 / 501


def test_random_distances_show_no_groups():
    generator = np.random.default_rng(0)
    found = [blocks(generator, apart=0) for _ in range(200)]
    rand = [rand_index(tree(matrix, "average"), NAMES) for matrix in found]
    assert np.mean(rand) == pytest.approx(0, abs=0.04)
    assert np.mean([separation(matrix, NAMES) for matrix in found]) == pytest.approx(0.5, abs=0.02)
    p = [separation_p(matrix, NAMES, n_permutations=99, seed=n) for n, matrix in enumerate(found)]
    assert np.mean(p) == pytest.approx(0.5, abs=0.07)


def test_branches_of_a_tree_that_is_known():
    # ((0 1) (2 3)) 4: at 1, at 2, at 3, at 4.
    matrix = np.array(
        [
            [0, 1, 3, 3, 4],
            [1, 0, 3, 3, 4],
            [3, 3, 0, 2, 4],
            [3, 3, 2, 0, 4],
            [4, 4, 4, 4, 0],
        ],
        dtype=float,
    )
    links = tree(matrix, "average")
    assert links[:, 2].tolist() == [1, 2, 3, 4]
    # x is a branch; y is best met by (2 3) or the whole; z has one task.
    assert best_overlap(links, ["x", "x", "y", "z", "y"]) == {"x": 1.0, "y": 2 / 5}
    # Cut into three: (0 1), (2 3), 4.
    assert rand_index(links, ["x", "x", "y", "y", "z"]) == 1
    assert rand_index(links, ["x", "x", "y", "z", "y"]) < 1


@pytest.mark.parametrize("group", [None, "a", "b"])
def test_separation_is_sklearns_auc(group):
    matrix = blocks(np.random.default_rng(3), apart=0.05)
    pairs = [
        (NAMES[i] == NAMES[j], -matrix[i, j])
        for i in range(len(NAMES))
        for j in range(i)
        if group is None or group in (NAMES[i], NAMES[j])
    ]
    expected = roc_auc_score(*zip(*pairs, strict=True))
    assert 0.5 < expected < 1
    assert separation(matrix, NAMES, group=group) == pytest.approx(expected, abs=1e-12)


def test_p_is_the_share_of_all_ways_to_deal_groups_out():
    matrix = np.random.default_rng(6).random((5, 5))
    matrix, names = matrix + matrix.T, [*"aabbb"]
    ways = [separation(matrix, list(way)) for way in sorted(set(permutations(names)))]
    assert len(ways) == 10
    share = np.mean(np.array(ways) >= separation(matrix, names) - 1e-12)
    assert 0.1 < share < 0.9
    p = separation_p(matrix, names, n_permutations=4000, seed=0)
    assert p == pytest.approx(share, abs=0.03)


def test_tasks_that_serve_each_other_are_near():
    affinity = np.array([[0.5, 0.4, 0.01], [0.3, 0.4, 0.09], [0.2, 0.2, 0.9]])
    distances = affinity_distance(affinity)
    np.testing.assert_allclose(distances, distances.T)
    assert distances[0, 1] == pytest.approx(1 - np.sqrt(0.4 * 0.3))
    assert tree_kind(distances) == "published"
    assert tree_kind(distances + 0.6) == "average"


def test_measurements_say_what_there_is():
    matrix = blocks(np.random.default_rng(0), apart=0.5)
    found = group_measurements(matrix, NAMES, n_permutations=99, seed=0)
    values = {m.quantity: m.value for m in found}
    assert {m.subject for m in found} == {GROUPS}
    assert {m.n for m in found} == {len(NAMES)}
    assert values["rand_average"] == values["rand_published"] == values["branch.c"] == 1
    assert values["separation"] == values["separation.b"] == 1
    assert values["separation.p"] == pytest.approx(0.01, abs=0.011)
    # Where log(1 − D) does not exist, neither does its tree.
    far = {m.quantity for m in group_measurements(matrix + 0.5, NAMES, n_permutations=9, seed=0)}
    assert set(values) - far == {"rand_published"}
    assert group_measurements(matrix[:3, :3], ["a", "b", "c"], n_permutations=9, seed=0) == []
    assert group_measurements(matrix[:3, :3], ["a", "a", "a"], n_permutations=9, seed=0) == []
    with pytest.raises(ValueError, match=r"within and between groups, got groups \['a', 'b'\]"):
        separation(matrix[:2, :2], ["a", "b"])
