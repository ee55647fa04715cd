import itertools

import numpy as np
import pytest
import scipy.stats

from modelgif.verdict import combined_p_value, combined_scores, comparable, conformal_p_value

RULES = ("sum", "min")


def standardised_one_by_one(scores: np.ndarray) -> np.ndarray:
    """Each score by the mean and the deviation of all others, the plain way."""
    found = np.empty_like(scores)
    for i, j in np.ndindex(*scores.shape):
        others = np.delete(scores[:, j], i)
        found[i, j] = (scores[i, j] - others.mean()) / others.std(ddof=1)
    return found


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_scores_are_standardised_by_all_others(offset: float) -> None:
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((9, 3)) * [1e-3, 1, 1e3] + offset
    z = standardised_one_by_one(scores)
    z /= np.sqrt(1 + (z / 20) ** 2)
    tolerance = 1e-9 if not offset else 1e-4
    expected = z.sum(1) / np.sqrt(3)
    np.testing.assert_allclose(combined_scores(scores), expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        combined_scores(scores, rule="min"), z.min(1), rtol=0, atol=tolerance
    )
    weights = np.array([3.0, 4.0, 0.0])
    np.testing.assert_allclose(
        combined_scores(scores, weights=weights), z @ (weights / 5), rtol=0, atol=tolerance
    )


def exchangeable(kind: str, generator: np.random.Generator, n_models: int) -> np.ndarray:
    """Scores of models of one kind by three methods, ``[m, 3]``, dependent in various ways."""
    noise = generator.standard_normal((n_models, 3))
    match kind:
        case "independent":
            return noise
        case "one quantity":  # three views of one number
            return np.exp(noise[:, :1] + 1e-3 * noise)
        case "opposed":
            return np.column_stack([noise[:, 0], -noise[:, 0] + 0.1 * noise[:, 1], noise[:, 2]])
        case "heavy tails":
            return generator.standard_t(1.2, (n_models, 3))
        case "models in common":  # a draw that moves all models of a zoo
            return noise + 3 * generator.standard_normal(3)
        case "counts":  # many ties
            return generator.integers(0, 4, (n_models, 3)).astype(float)
    raise LookupError(kind)


KINDS = ("independent", "one quantity", "opposed", "heavy tails", "models in common", "counts")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KINDS)
def test_p_value_is_exact_whoever_of_the_models_is_the_suspect(rule, kind: str) -> None:
    """Enumerates what exchangeability makes equally likely: which of the models is accused."""
    for seed in range(30):
        scores = exchangeable(kind, np.random.default_rng(seed), 7)
        p_values = np.sort(
            [combined_p_value(scores[i], np.delete(scores, i, 0), rule=rule) for i in range(7)]
        )
        exact = np.arange(1, 8) / 7
        if kind == "counts":  # ties can only raise p-values
            assert (p_values >= exact - 1e-12).all()
        else:
            np.testing.assert_allclose(p_values, exact)


@pytest.mark.parametrize("rule", RULES)
def test_p_value_depends_on_no_order(rule) -> None:
    generator = np.random.default_rng(1)
    scores = exchangeable("counts", generator, 5) + 0.01 * generator.integers(0, 2, (5, 3))
    expected = combined_p_value(scores[0], scores[1:], rule=rule)
    for order in itertools.permutations(range(1, 5)):
        for methods in itertools.permutations(range(3)):
            changed = scores[[0, *order]][:, methods]
            assert combined_p_value(changed[0], changed[1:], rule=rule) == expected


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", KINDS)
def test_level_is_kept_over_many_zoos(rule, kind: str) -> None:
    generator = np.random.default_rng(2)
    n_zoos, level = 1000, 0.1
    p_values = []
    for _ in range(n_zoos):
        scores = exchangeable(kind, generator, 20)
        p_values.append(combined_p_value(scores[0], scores[1:], rule=rule))
    share = np.mean(np.array(p_values) <= level + 1e-12)
    error = 3 * np.sqrt(level * (1 - level) / n_zoos)
    assert share <= level + error
    if kind != "counts":
        assert share >= level - error


def power(effect: list[float], rule="sum", methods: slice = slice(None)) -> float:
    generator = np.random.default_rng(3)
    found = 0
    for _ in range(300):
        scores = generator.standard_normal((20, 3))
        scores[0] -= effect
        suspect, others = scores[0, methods], scores[1:, methods]
        found += combined_p_value(suspect, others, rule=rule) <= 0.05 + 1e-12
    return found / 300


@pytest.mark.parametrize("rule", RULES)
def test_power_grows_with_the_effect(rule) -> None:
    shares = [power([effect] * 3, rule) for effect in (0, 1, 2, 4)]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[-1] > 0.97


def test_together_methods_find_what_each_misses() -> None:
    single = max(power([2, 2, 2], methods=slice(j, j + 1)) for j in range(3))
    assert power([2, 2, 2]) > single + 0.2
    # What one method sees is not lost among two that see nothing, least of all to the minimum.
    for rule in RULES:
        assert power([6, 0, 0], rule) > 0.85


def test_nearer_is_never_less_suspect() -> None:
    generator = np.random.default_rng(4)
    others = generator.standard_normal((25, 2))
    for rule in RULES:
        p_values = [
            combined_p_value([score, 0.3], others, rule=rule) for score in np.linspace(-20, 3, 40)
        ]
        assert p_values == sorted(p_values)
        assert p_values[0] == pytest.approx(1 / 26)


def test_one_method_alone_keeps_its_order() -> None:
    generator = np.random.default_rng(5)
    for scores in generator.standard_normal((50, 12)):
        single = combined_p_value(scores[:1], scores[1:, None])
        assert single == conformal_p_value(scores[0], scores[1:])


def test_scores_without_spread_count_but_not_infinitely() -> None:
    # By the first method the suspect alone differs: the most it can. The second says nothing.
    scores = np.array([[0.3, 1], [0.7, 1], [0.7, 1], [0.7, 1]])
    found = combined_scores(scores) * np.sqrt(2)
    assert found[0] == -20
    assert (found[1:] > 0).all()
    assert combined_scores(np.full((5, 2), 0.1)).tolist() == [0] * 5
    # In groups, too, they are finite.
    grouped = combined_scores(np.vstack([scores, scores]), groups="aaaabbbb")
    assert np.isfinite(grouped).all()
    assert grouped.argsort(kind="stable")[:2].tolist() == [0, 4]
    # A third method that says as much of the contrary leaves the suspect in the middle.
    both = combined_scores(np.array([[0.3, 2], [0.7, 1], [0.7, 1], [0.7, 1]]))
    assert both[0] == 0


def test_missing_methods_are_left_out_for_everybody() -> None:
    generator = np.random.default_rng(6)
    scores = generator.standard_normal((10, 3))
    suspect, others = scores[0].copy(), scores[1:].copy()
    suspect[1] = np.nan
    others[2, 1] = np.nan  # missing anyway
    expected = combined_p_value(scores[0, [0, 2]], scores[1:, [0, 2]])
    assert combined_p_value(suspect, others) == expected
    weighted = combined_p_value(suspect, others, weights=[1, 5, 2])
    assert weighted == combined_p_value(scores[0, [0, 2]], scores[1:, [0, 2]], weights=[1, 2])
    # An independent that lacks what the suspect has cannot be compared with it.
    others[4, 2] = np.nan
    methods, models = comparable(suspect, others)
    assert methods.tolist() == [True, False, True]
    assert np.flatnonzero(~models).tolist() == [4]
    kept = np.delete(scores[1:, [0, 2]], 4, axis=0)
    assert combined_p_value(suspect, others) == combined_p_value(scores[0, [0, 2]], kept)


def test_groups_are_measured_by_themselves() -> None:
    generator = np.random.default_rng(7)
    scores = generator.standard_normal((15, 2))
    groups = list("aabbbbabbabbbab")
    found = combined_scores(scores, groups=groups)
    for group in "ab":
        rows = [i for i, other in enumerate(groups) if other == group]
        # Student's prediction interval, as a probability, as a normal deviate.
        z = standardised_one_by_one(scores[rows]) / np.sqrt(1 + 1 / (len(rows) - 1))
        normal = scipy.stats.norm.ppf(scipy.stats.t.cdf(z, len(rows) - 2))
        normal /= np.sqrt(1 + (normal / 20) ** 2)
        np.testing.assert_allclose(found[rows], normal.sum(1) / np.sqrt(2), atol=1e-9)
    # Where groups lie, and how wide they are, is of no matter.
    moved = scores * np.where(np.array(groups) == "a", 1, 50)[:, None]
    moved[np.array(groups) == "b"] += [300, -7]
    np.testing.assert_allclose(combined_scores(moved, groups=groups), found, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_level_is_kept_nearly_when_groups_are_pooled(tails: str) -> None:
    generator = np.random.default_rng(8)
    groups = [*"a" * 5, *"b" * 6, *"c" * 8, *"d" * 12]
    place = {group: 5 * i for i, group in enumerate("abcd")}
    n_zoos, accused, accused_in_a_pool = 500, 0, 0
    for _ in range(n_zoos):
        noise = (
            generator.standard_normal
            if tails == "normal"
            else (lambda shape: generator.standard_t(3, shape))
        )
        others = noise((31, 2)) + np.array([[place[g]] * 2 for g in groups])
        suspect = noise(2) + place["a"]  # of the nearest and smallest group
        p_value = combined_p_value(suspect, others, suspect_group="a", independent_groups=groups)
        accused += p_value <= 0.1
        accused_in_a_pool += combined_p_value(suspect, others) <= 0.1
    assert accused / n_zoos == pytest.approx(0.1, abs=0.04)
    # Pooled without groups, every fifth or more of the innocent ones is accused.
    assert accused_in_a_pool / n_zoos > 0.3


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (np.zeros((2, 1)), {}, "takes at least 2 other models, got 1"),
        (np.zeros(4), {}, r"\[m, M\], got an array \[4\]\."),
        (np.zeros((4, 0)), {}, r"\[4, 0\]"),
        (np.array([[np.nan], [0], [1]]), {}, "with NaN or infinity"),
        (np.zeros((4, 2)), {"rule": "mean"}, "one of sum, min, got 'mean'"),
        (np.zeros((4, 2)), {"weights": [1]}, "each of 2 methods, got"),
        (np.zeros((4, 2)), {"weights": [1, -1]}, "at least 0 for each"),
        (np.zeros((4, 2)), {"weights": [0, 0]}, "must have a positive weight"),
        (np.zeros((4, 2)), {"weights": [1, 1], "rule": "min"}, "weights belong to the rule sum"),
        (np.zeros((4, 2)), {"groups": "aab"}, "the group of each of 4 models, got 3"),
        (np.zeros((5, 2)), {"groups": "aaabb"}, "at least 3 models in each, got 2 of 'b'"),
    ],
)
def test_refused_scores(scores: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combined_scores(scores, **options)


@pytest.mark.parametrize(
    ("suspect", "independents", "message"),
    [
        ([0.1], np.zeros((3, 2)), r"got shapes \[1\] and \[3, 2\]"),
        ([0.1, np.inf], np.zeros((3, 2)), "got infinity"),
        ([0.1, np.nan], np.full((3, 2), np.nan), "no independent model is described by"),
        ([np.nan] * 2, np.zeros((3, 2)), "no independent model is described by"),
    ],
)
def test_refused_comparisons(suspect, independents, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        combined_p_value(suspect, independents)


def test_refused_groups_and_weights_of_a_suspect() -> None:
    with pytest.raises(ValueError, match="the group of each of 3 independent models, got 2"):
        combined_p_value([0], np.zeros((3, 1)), suspect_group="a", independent_groups="aa")
    with pytest.raises(ValueError, match="one weight of at least 0 for each of 1 methods"):
        combined_p_value([0], np.zeros((3, 1)), weights=[1, 1])
