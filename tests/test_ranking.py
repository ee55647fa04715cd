import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score, roc_curve

from modelgif.ranking import (
    auc,
    auc_interval,
    columnwise_spearman,
    pearson,
    precision_at_k,
    recall_at_k,
    spearman,
    top_1_regret,
    top_k_recall,
    tpr_at_fpr,
    weighted_kendall,
)

# The groups of models that each AUC the authors printed compares.
GROUPS = {
    "AUC_P": ("extract_p", "irrelevant"),
    "AUC_L": ("extract_l", "irrelevant"),
    "AUC_Finetune": ("finetune", "irrelevant"),
    "AUC_Prune": ("fine_pruning", "irrelevant"),
    "AUC_Adv": ("extract_adv", "irrelevant"),
    "AUC_100": ("transfer_cifar100", "irrelevant_cifar100"),
    "AUC_10C": ("transfer_cifar10c", "irrelevant_cifar10c"),
}


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def matrix(path: Path) -> tuple[list[str], np.ndarray]:
    first, *rows = csv.reader(path.read_text().splitlines())
    assert [row[0] for row in rows] == first[1:]
    return first[1:], np.array([row[1:] for row in rows], dtype=float)


def test_published_aucs(golden: Path) -> None:
    distances = defaultdict(list)
    for row in read(golden / "ipp_distances.csv"):
        distances[row["reference_points"], row["group"]].append(float(row["distance"]))
    published = read(golden / "ipp_auc.csv")
    assert len(published) == 42
    for row in published:
        positives, negatives = (
            distances[row["reference_points"], group] for group in GROUPS[row["auc_name"]]
        )
        measured = auc(positives, negatives)
        # The distances were printed with four decimals, which makes ties.
        assert measured == pytest.approx(float(row["auc_logged"]), abs=1.3e-3)
        assert measured == pytest.approx(float(row["auc_recomputed"]), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_auc_and_tpr_equal_sklearns_with_ties(seed: int) -> None:
    generator = np.random.default_rng(seed)
    near, far = generator.integers(0, 12, 30) / 8, generator.integers(4, 16, 45) / 8
    truth, score = np.repeat([1, 0], [30, 45]), -np.concatenate([near, far])
    assert auc(near, far) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    found_wrongly, found, _ = roc_curve(truth, score, drop_intermediate=False)
    for fpr in (0.0, 0.05, 0.2, 0.5, 1.0):
        expected = found[found_wrongly <= fpr + 1e-12].max()
        assert tpr_at_fpr(near, far, fpr=fpr) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        ([0.1, 0.2], [0.3, 0.4], 1),
        ([0.3, 0.4], [0.1, 0.2], 0),
        ([1, 1], [1], 0.5),
        ([1, 3], [2], 0.5),
    ],
)
def test_auc_of_hand_made_distances(positives, negatives, expected: float) -> None:
    assert auc(positives, negatives) == expected


TWENTY = np.arange(1, 21) / 10


@pytest.mark.parametrize(
    ("positives", "negatives", "fpr", "expected"),
    [
        ([0.05, 0.15, 0.25, 3], TWENTY, 0.05, 0.5),  # one false positive of 20 is allowed
        ([0.05, 0.15, 0.25, 3], TWENTY[:19], 0.05, 0.25),  # none of 19
        ([0.05, 0.15, 0.25, 3], TWENTY, 0.1, 0.75),
        ([0.2, 0.2, 0.1], TWENTY, 0.05, 1 / 3),  # at 0.2 a second negative would be found, too
        ([0.05, 0.15, 0.25, 3], TWENTY, 1.0, 1.0),
        ([0.1], [0.1], 0.0, 0.0),
        ([0.295, 0.305], np.arange(1, 101) / 100, 0.29, 0.5),  # 0.29 · 100 < 29 in floating point
    ],
)
def test_tpr_at_fpr_of_hand_made_distances(positives, negatives, fpr: float, expected) -> None:
    assert tpr_at_fpr(positives, negatives, fpr=fpr) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "n_positives", "n_negatives"), [(1.0, 15, 20), (2.2, 20, 10)])
def test_auc_intervals_cover_the_true_auc(shift: float, n_positives: int, n_negatives: int) -> None:
    true = scipy.stats.norm.cdf(shift / np.sqrt(2))
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        near = generator.normal(-shift, 1, n_positives)
        far = generator.normal(0, 1, n_negatives)
        low, high = auc_interval(auc(near, far), n_positives, n_negatives)
        covered += low <= true <= high
    assert covered / 400 >= 0.92


def test_auc_intervals_stay_honest_at_the_ends() -> None:
    low, high = auc_interval(1.0, 20, 20)
    assert high == 1
    assert 0.7 < low < 0.95
    assert auc_interval(0.0, 20, 20) == pytest.approx((0, 1 - low))
    assert auc_interval(1.0, 1, 1)[0] < 0.3
    assert auc_interval(1.0, 5, 5)[0] < low < auc_interval(1.0, 80, 80)[0]
    assert auc_interval(1.0, 20, 20, level=0.8)[0] > low


@pytest.mark.parametrize("value", [0.0, 0.003, 0.4, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_auc_intervals_hold_their_value_and_mirror(value: float, level: float) -> None:
    low, high = auc_interval(value, 12, 7, level=level)
    assert 0 <= low <= value <= high <= 1
    assert high - low > 0.01
    assert auc_interval(1 - value, 12, 7, level=level) == pytest.approx((1 - high, 1 - low))


def test_published_spearman_of_task_relatedness(golden: Path) -> None:
    tasks, distances = matrix(golden / "modelgif_affinity.csv")
    same_tasks, affinities = matrix(golden / "taskonomy_affinity.csv")
    assert tasks == same_tasks
    columns = columnwise_spearman(distances, affinities)
    assert columns.mean() == pytest.approx(-0.8349192618223761, abs=1e-12)
    published = json.loads((golden / "spearman.json").read_text())
    for name, diagonal in (("all", True), ("all_no_diagonal", False)):
        columns = columnwise_spearman(distances, affinities, diagonal=diagonal)
        assert columns.mean() == pytest.approx(published[name]["mean"], abs=1e-12)
        by_task = dict(zip(tasks, columns, strict=True))
        assert by_task == pytest.approx(published[name]["per_task"], abs=5.1e-9)  # as printed


def test_spearman_of_hand_made_vectors() -> None:
    # No ties: 1 - 6 Σd² / (n (n² - 1)) with Σd² = 10.
    assert spearman([1, 2, 3, 4, 5], [10, 40, 20, 50, 30]) == pytest.approx(1 - 60 / 120)
    assert spearman([1, 2, 3], np.exp([1, 2, 3])) == pytest.approx(1)
    # Ranks (1.5, 1.5, 3) against (1, 2, 3).
    assert spearman([0, 0, 1], [1, 2, 3]) == pytest.approx(1.5 / np.sqrt(1.5 * 2))


def test_columnwise_spearman_can_leave_out_the_diagonal() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 6, 6))
    with_diagonal = [spearman(a[:, j], b[:, j]) for j in range(6)]
    np.testing.assert_allclose(columnwise_spearman(a, b), with_diagonal)
    before = columnwise_spearman(a, b, diagonal=False)
    np.fill_diagonal(a, 100)
    np.testing.assert_array_equal(columnwise_spearman(a, b, diagonal=False), before)


@pytest.mark.parametrize("dataset", ["cifar10", "stanfordcars", "sun397"])
@pytest.mark.parametrize("score", ["HScore", "LEEP", "LogME", "NCE"])
def test_published_weighted_kendall(golden: Path, dataset: str, score: str) -> None:
    rows = [
        row
        for row in read(golden / "tllib_model_selection_scores.csv")
        if row["dataset"] == dataset
    ]
    assert len(rows) >= 10
    (reported,) = (
        float(row["value"])
        for row in read(golden / "tllib_reported_correlations.csv")
        if (row["dataset"], row["stat"], row["metric"]) == (dataset, "Weighted Tau", score)
    )
    measured = weighted_kendall(
        [float(row[score]) for row in rows], [float(row["finetuned_acc"]) for row in rows]
    )
    assert measured == pytest.approx(reported, abs=5.01e-4)


def test_weighted_kendall_of_a_swap_weighs_the_top_more() -> None:
    truth = [5, 4, 3, 2, 1]
    assert weighted_kendall(truth, truth) == pytest.approx(1)
    assert weighted_kendall([1, 2, 3, 4, 5], truth) == pytest.approx(-1)
    assert weighted_kendall([4, 5, 3, 2, 1], truth) < weighted_kendall([5, 4, 3, 1, 2], truth)


@pytest.mark.parametrize("seed", range(3))
def test_pearson_is_scipys(seed: int) -> None:
    a, b = np.random.default_rng(seed).random((2, 9))
    assert pearson(a, b) == pytest.approx(scipy.stats.pearsonr(a, b).statistic, abs=1e-12)
    assert pearson(a, 2 - 3 * a) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("scores", "truth", "regret", "recall"),
    [
        ([4, 3, 2, 1], [0.9, 0.8, 0.7, 0.6], 0.0, 1.0),
        ([1, 2, 3, 4], [0.9, 0.8, 0.7, 0.6], 0.3, 0.0),
        ([3, 1, 4, 2], [0.9, 0.8, 0.7, 0.6], 0.2, 0.5),
        ([4, 4, 2, 1], [0.9, 0.5, 0.7, 0.6], 0.2, 0.5),  # one of two, and both are taken
        ([1, 1, 1, 1], [0.9, 0.8, 0.7, 0.6], 0.15, 0.5),  # any
        ([4, 2, 2, 1], [0.9, 0.8, 0.7, 0.6], 0.0, 0.75),  # the second place is open
        ([4, 3, 2, 1], [0.9, 0.6, 0.6, 0.5], 0.0, 0.75),  # the second best is
    ],
)
def test_choices_of_hand_made_scores(scores, truth, regret: float, recall: float) -> None:
    assert top_1_regret(scores, truth) == pytest.approx(regret, abs=1e-12)
    assert top_k_recall(scores, truth, 2) == pytest.approx(recall, abs=1e-12)
    assert top_k_recall(scores, truth, 4) == pytest.approx(1)


def test_choices_among_ties_are_means_over_ways_to_break_them() -> None:
    generator = np.random.default_rng(0)
    scores, truth = generator.integers(0, 3, (2, 7)).astype(float)
    recalls, regrets = [], []
    for _ in range(4000):
        order = np.lexsort((generator.random(7), -scores))
        best = np.lexsort((generator.random(7), -truth))
        recalls.append(len(set(order[:3]) & set(best[:3])) / 3)
        regrets.append(truth.max() - truth[order[0]])
    assert top_k_recall(scores, truth, 3) == pytest.approx(np.mean(recalls), abs=0.02)
    assert top_1_regret(scores, truth) == pytest.approx(np.mean(regrets), abs=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_precision_and_recall_are_shares_of_one_intersection(seed: int) -> None:
    scores, truth = np.random.default_rng(seed).random((2, 16))
    relevant = set(np.argsort(-truth)[:5])
    for k in range(1, 17):
        hits = len(relevant & set(np.argsort(-scores)[:k]))
        assert precision_at_k(scores, truth, k) == pytest.approx(hits / k, abs=1e-12)
        assert recall_at_k(scores, truth, k) == pytest.approx(hits / 5, abs=1e-12)
        same = recall_at_k(scores, truth, k, n_relevant=k)
        assert same == pytest.approx(top_k_recall(scores, truth, k), abs=1e-12)


def test_precision_of_tied_scores_is_that_of_a_random_order() -> None:
    truth = np.arange(16.0)
    for k in (1, 3, 5, 16):
        assert precision_at_k(np.ones(16), truth, k) == pytest.approx(5 / 16)
        assert recall_at_k(np.ones(16), truth, k) == pytest.approx(k / 16)
    # One of two tied truths is relevant, and the score finds one of them.
    assert precision_at_k([3, 2, 1], [1, 1, 0], 1, n_relevant=1) == 0.5


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auc([], [1]), "positives must be a non-empty vector of finite distances"),
        (lambda: auc([1], []), "negatives must be a non-empty vector"),
        (lambda: auc([1, NAN], [1]), "positives must be a non-empty vector of finite"),
        (lambda: tpr_at_fpr([1], [[1]]), "negatives must be a non-empty vector"),
        (lambda: tpr_at_fpr([1], [1], fpr=1.5), r"fpr must lie in \[0, 1\], got 1.5"),
        (lambda: auc_interval(1.2, 3, 3), r"an AUC in \[0, 1\].* got 1.2, 3, 3, 0.95"),
        (lambda: auc_interval(NAN, 3, 3), "got nan"),
        (lambda: auc_interval(0.5, 0, 3), "at least one model per side"),
        (lambda: auc_interval(0.5, 3, 3, level=1), r"a level in \(0, 1\)"),
        (lambda: spearman([1, 2], [1, 2, 3]), r"one length, at least 2, got shapes \(2,\)"),
        (lambda: spearman([1], [1]), "at least 2"),
        (lambda: spearman([1, 1], [1, 2]), "constant vector has no ranks"),
        (lambda: columnwise_spearman([[1, 2]], [[1, 2]]), r"two square matrices .* got \(1, 2\)"),
        (lambda: columnwise_spearman(np.eye(2), np.eye(3)), r"got \(2, 2\) and \(3, 3\)"),
        (lambda: weighted_kendall([1, 2], [1, 2, 3]), "two vectors of one length"),
        (lambda: weighted_kendall([1], [1]), "two vectors of one length"),
        (lambda: weighted_kendall([1, 1, 1], [1, 2, 3]), "constant"),
        (lambda: weighted_kendall([1, NAN, 2], [1, 2, 3]), "finite"),
        (lambda: spearman([1, NAN, 2], [1, 2, 3]), "finite"),
        (lambda: pearson([1, 1], [1, 2]), "constant"),
        (lambda: top_1_regret([], []), "one length, at least 1"),
        (lambda: top_1_regret([1], [NAN]), "values to choose by must be finite"),
        (lambda: top_k_recall([1, 2], [1, 2, 3], 1), "two vectors of one length"),
        (lambda: top_k_recall([1, 2], [1, 2], 3), r"k must lie in 1 .. 2, .* got 3"),
        (lambda: precision_at_k([1, 2], [1, 2], 3), "k must lie in 1 .. 2, .*: 3"),
        (lambda: recall_at_k([1, 2], [1, 2], 1, n_relevant=0), "n_relevant must lie in 1 .. 2"),
        (lambda: precision_at_k([1, 2], [1, 2], 1), "n_relevant must lie in 1 .. 2, .*: 5"),
    ],
)
def test_refusals(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
