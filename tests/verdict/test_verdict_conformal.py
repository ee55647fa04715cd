import fractions
import itertools

import numpy as np
import pytest

from modelgif.verdict import (
    conformal_p_value,
    cross_conformal_p_value,
    decide,
    needed_independents,
    smallest_p_value,
)


def test_of_one_fold_is_the_plain_p_value() -> None:
    generator = np.random.default_rng(0)
    for scores in generator.random((50, 12)).round(1):
        plain = conformal_p_value(scores[0], scores[1:])
        assert cross_conformal_p_value([scores[0]], [scores[1:]]) == plain
        # Folds that score alike change nothing.
        folds = np.split(scores[1:], [3, 5])
        assert cross_conformal_p_value([scores[0]] * 3, folds) == plain


def test_counts_in_each_fold_what_is_as_near_as_the_suspect_is_there() -> None:
    # 2 of fold 1 are at or below 0.5, 1 of fold 2 at or below 0.2, none of fold 3 below 0.1.
    folds = [[0.5, 0.1, 0.6], [0.2, 0.3], [0.4]]
    assert cross_conformal_p_value([0.5, 0.2, 0.1], folds) == pytest.approx((1 + 2 + 1) / 7)


def test_p_value_rises_with_the_distance() -> None:
    generator = np.random.default_rng(1)
    folds = np.split(generator.random(20), 4)
    start = generator.random(4)
    p_values = [cross_conformal_p_value(start + step, folds) for step in np.linspace(-2, 2, 41)]
    assert p_values == sorted(p_values)
    assert p_values[0] == pytest.approx(1 / 21)
    assert p_values[-1] == 1


def chosen(models: np.ndarray, count: int) -> np.ndarray:
    """The references at which `models` ``[m, N]`` are farthest."""
    return np.argsort(-models.mean(0), kind="stable")[:count]


def test_level_with_references_that_the_other_folds_chose() -> None:
    generator = np.random.default_rng(2)
    n, k, n_zoos, level = 19, 4, 1500, 0.1
    accused = 0
    for _ in range(n_zoos):
        # Models differ by an own mean and by reference; some references are far for everybody.
        models = generator.random((n + 1, 1)) + generator.random(60) + generator.random((n + 1, 60))
        suspect, others = models[0], models[1:]
        scores, folds = [], []
        for rows in np.array_split(generator.permutation(n), k):
            references = chosen(np.delete(others, rows, axis=0), 8)
            scores.append(suspect[references].mean())
            folds.append(others[rows][:, references].mean(1))
        accused += cross_conformal_p_value(scores, folds) <= level
    bound = 2 * level + 2 * (1 - level) * (k - 1) / (n + k)
    error = 3 * np.sqrt(level * (1 - level) / n_zoos)
    assert accused / n_zoos <= level + error < bound


@pytest.mark.parametrize(
    ("suspect", "independents", "message"),
    [
        ([], [], "got 0 scores and 0 folds"),
        ([0.1], [[0.1], [0.2]], "one score of the suspect per fold .* got 1 scores and 2 folds"),
        ([0.1, 0.1], [[0.1], []], "finite distances of independent models, got"),
        ([0.1, float("nan")], [[0.1], [0.2]], "suspect's distance must be finite, got nan"),
    ],
)
def test_refused_folds(suspect, independents, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cross_conformal_p_value(suspect, independents)


@pytest.mark.parametrize("denominator", [3, 5, 10, 20, 33, 100, 1000, 12345])
@pytest.mark.parametrize("n_suspects", [1, 2, 7])
def test_needed_independents_are_the_fewest_that_reach_the_level(
    denominator: int, n_suspects: int
) -> None:
    level = fractions.Fraction(1, denominator)
    needed = needed_independents(float(level), n_suspects)
    assert fractions.Fraction(n_suspects, needed + 1) <= level
    assert fractions.Fraction(n_suspects, needed) > level
    assert smallest_p_value(needed) == conformal_p_value(0, np.ones(needed))


def test_needed_independents_make_a_decision_possible() -> None:
    for level in (0.03, 0.05, 0.1, 0.07, 0.49):
        needed = needed_independents(level)
        assert decide(smallest_p_value(needed), needed, level=level) == "derived"
        fewer = needed - 1
        assert decide(smallest_p_value(fewer), fewer, level=level) == "undecided"
    assert needed_independents(0.9) == 1


def test_refused_counts() -> None:
    for level, n_suspects in itertools.product((0.0, 1.0, float("nan")), (1,)):
        with pytest.raises(ValueError, match=f"a level between 0 and 1 .*, got {level} and 1"):
            needed_independents(level, n_suspects)
    with pytest.raises(ValueError, match=r"got 0\.05 and 0"):
        needed_independents(0.05, 0)
    with pytest.raises(ValueError, match="at least 1 independent model, got 0"):
        smallest_p_value(0)
