import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelgif.verdict import adjust, conformal_p_value, holm, merge_p_values

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@pytest.mark.slow
@given(P_VALUES)
def test_holm_is_the_closure_of_bonferroni(p_values: list[float]) -> None:
    # A hypothesis is rejected when Bonferroni rejects every set of hypotheses that it is in.
    n = len(p_values)
    for i, adjusted in enumerate(holm(p_values)):
        sets = [
            chosen
            for size in range(1, n + 1)
            for chosen in itertools.combinations(range(n), size)
            if i in chosen
        ]
        closed = max(len(chosen) * min(p_values[j] for j in chosen) for chosen in sets)
        assert adjusted == pytest.approx(min(1, closed), abs=1e-12)


def test_holm_by_hand() -> None:
    # 0.01·4, then 0.013·3 raised to the one before, 0.03·2, 0.9·1.
    assert holm([0.03, 0.01, 0.9, 0.013]) == pytest.approx([0.06, 0.04, 0.9, 0.04])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.6, 0.7]).tolist() == [1, 1]


@pytest.mark.parametrize("shared", [True, False])
def test_holm_keeps_the_chance_of_any_false_accusation(shared: bool) -> None:
    generator = np.random.default_rng(0)
    n_zoos, n_suspects, n, level = 1500, 4, 79, 0.1
    any_accused = 0
    for _ in range(n_zoos):
        # Of five suspects one is derived; the others are independent.
        rows = generator.standard_normal((1 if shared else n_suspects + 1, n))
        scores = [*generator.standard_normal(n_suspects), -9.0]
        p_values = [conformal_p_value(score, rows[i % len(rows)]) for i, score in enumerate(scores)]
        adjusted = holm(p_values)
        assert adjusted[-1] <= 5 / 80 + 1e-12
        any_accused += (adjusted[:-1] <= level + 1e-12).any()
    assert any_accused / n_zoos <= level + 3 * np.sqrt(level * (1 - level) / n_zoos)
    assert any_accused > 0.03 * n_zoos  # without being idle


def test_adjust_names_its_corrections() -> None:
    p_values = np.array([0.04, 0.01, 0.2])
    assert adjust(p_values, "holm").tolist() == holm(p_values).tolist()
    assert adjust(p_values, "benjamini_hochberg") == pytest.approx([0.06, 0.03, 0.2])
    none = adjust(p_values, "none")
    assert none.tolist() == p_values.tolist()
    none[0] = 1
    assert p_values[0] == 0.04
    with pytest.raises(ValueError, match="one of holm, benjamini_hochberg, none, got 'bonferroni'"):
        adjust(p_values, "bonferroni")  # type: ignore[arg-type]


@pytest.mark.parametrize("p_values", [[], [0.1, 1.1], [-0.1], [float("nan")], [[0.1]]])
@pytest.mark.parametrize("use", [holm, adjust, merge_p_values])
def test_refused_p_values(use, p_values) -> None:
    with pytest.raises(ValueError, match=r"expected a vector of p-values in \[0, 1\], got"):
        use(p_values)


def test_merged_p_values() -> None:
    assert merge_p_values([0.1, 0.3]) == pytest.approx(0.4)
    assert merge_p_values([0.9, 0.3]) == 1
    assert merge_p_values([0.1, 0.3, 0.02], "minimum") == pytest.approx(0.06)
    assert merge_p_values([0.5, 0.9], "minimum") == 1
    for rule in ("mean", "minimum"):
        assert merge_p_values([0.07], rule) == pytest.approx(0.07)
    with pytest.raises(ValueError, match="one of mean, minimum, got 'median'"):
        merge_p_values([0.1], "median")  # type: ignore[arg-type]


def dependent_p_values(kind: str, generator: np.random.Generator) -> np.ndarray:
    """Many pairs of uniform p-values, ``[number, 2]``, that depend on each other."""
    uniform = generator.random((200_000, 2))
    if kind == "equal":
        uniform[:, 1] = uniform[:, 0]
    elif kind == "opposite":
        uniform[:, 1] = 1 - uniform[:, 0]
    elif kind == "worst for the mean":  # they add up to 0.05 whenever one is below that
        first = uniform[:, 0]
        uniform[:, 1] = np.where(first < 0.05, 0.05 - first, first)
    elif kind == "worst for the minimum":  # never small together
        uniform[:, 1] = (uniform[:, 0] + 0.5) % 1
    return uniform


@pytest.mark.parametrize("rule", ["mean", "minimum"])
@pytest.mark.parametrize(
    "kind", ["independent", "equal", "opposite", "worst for the mean", "worst for the minimum"]
)
def test_merged_p_values_are_valid_under_any_dependence(rule, kind: str) -> None:
    pairs = dependent_p_values(kind, np.random.default_rng(0))
    factors = {"mean": pairs.sum(1), "minimum": 2 * pairs.min(1)}
    merged = np.minimum(factors[rule], 1)
    for i in range(50):
        assert merge_p_values(pairs[i], rule) == pytest.approx(merged[i])
    error = 3 * np.sqrt(0.05 * 0.95 / len(merged))
    share = np.mean(merged <= 0.05 + 1e-12)
    assert share <= 0.05 + error
    if kind.endswith(rule):  # and the factor cannot be smaller
        assert share == pytest.approx(0.05, abs=error)
