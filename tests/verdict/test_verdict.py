import numpy as np
import pytest

from modelgif.verdict import conformal_p_value, decide


@pytest.mark.parametrize(
    ("distance", "p_value"), [(0.05, 1 / 5), (0.1, 2 / 5), (0.25, 3 / 5), (0.3, 4 / 5), (9, 1)]
)
def test_p_value_counts_the_independents_as_near_as_the_suspect(
    distance: float, p_value: float
) -> None:
    assert conformal_p_value(distance, [0.3, 0.1, 0.4, 0.2]) == pytest.approx(p_value)


def test_p_value_of_an_independent_suspect_is_valid_at_every_level() -> None:
    generator = np.random.default_rng(0)
    p_values = np.array([conformal_p_value(d[0], d[1:]) for d in generator.random((4000, 20))])
    for level in (0.05, 0.1, 0.25, 0.5):
        # Exactly uniform on k/20 here: the share is the level, to three standard errors.
        error = 3 * np.sqrt(level * (1 - level) / len(p_values))
        assert np.mean(p_values <= level + 1e-12) == pytest.approx(level, abs=error)


@pytest.mark.parametrize("distance", [float("inf"), float("nan")])
def test_a_suspect_without_a_distance_is_refused(distance: float) -> None:
    with pytest.raises(ValueError, match=f"suspect's distance must be finite, got {distance}"):
        conformal_p_value(distance, [0.2])


@pytest.mark.parametrize("independents", [[], [0.2, float("nan")], [[0.2]]])
def test_bad_independents_are_refused(independents) -> None:
    with pytest.raises(ValueError, match="finite distances of independent models, got"):
        conformal_p_value(0.1, independents)


@pytest.mark.parametrize(
    ("p_value", "n_independents", "level", "decision"),
    [
        (1 / 20, 19, 0.05, "derived"),
        (2 / 20, 19, 0.05, "undecided"),
        (2 / 20, 19, 0.1, "derived"),
        (10 / 20, 19, 0.05, "undecided"),
        (11 / 20, 19, 0.05, "independent"),
        (1.0, 19, 0.05, "independent"),
        # With 18 independents no distance can reach 5 %, so nothing is decided.
        (1 / 19, 18, 0.05, "undecided"),
        (1.0, 18, 0.05, "undecided"),
        (1.0, 18, 0.1, "independent"),
    ],
)
def test_decisions(p_value: float, n_independents: int, level: float, decision: str) -> None:
    assert decide(p_value, n_independents, level=level) == decision


@pytest.mark.parametrize("n_independents", range(1, 60))
def test_every_p_value_that_a_distance_can_have_is_decided(n_independents: int) -> None:
    known = np.arange(1.0, n_independents + 1)
    decisions = [
        decide(conformal_p_value(distance, known), n_independents)
        for distance in np.arange(0.5, n_independents + 1)
    ]
    assert decisions.count("derived") == (n_independents + 1) // 20
    assert ("independent" in decisions) == (n_independents >= 19)


@pytest.mark.parametrize(
    ("p_value", "n_independents", "level", "message"),
    [
        (0.5, 19, 0.0, "level must lie between 0 and 0.5, got 0.0"),
        (0.5, 19, 0.5, "level must lie between 0 and 0.5, got 0.5"),
        (0.01, 19, 0.05, r"p-value of 19 independents lies in \[0.05, 1\], got 0.01"),
        (1.5, 19, 0.05, "got 1.5"),
        (float("nan"), 19, 0.05, "got nan"),
    ],
)
def test_refused_decisions(p_value: float, n_independents: int, level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decide(p_value, n_independents, level=level)
