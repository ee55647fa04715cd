"""Affinities from losses: Taskonomy's ordinal normalisation."""

import numpy as np
import pytest

from task_relatedness.statistics.affinity import CLIP, affinity_matrix, principal_vector, win_rates

# How many times more often a source that always wins beats the other, after clipping.
ALWAYS = CLIP[1] / CLIP[0]


def powers(rates: np.ndarray) -> np.ndarray:
    """The principal vector by repeated multiplication, in extended precision."""
    ratios = np.clip(rates, *CLIP).astype(np.longdouble)
    ratios = ratios / ratios.T
    vector = np.ones(len(rates), dtype=np.longdouble)
    for _ in range(3000):
        vector = ratios @ vector
        vector /= vector.sum()
    return vector.astype(float)


@pytest.mark.parametrize("seed", range(4))
def test_win_rates_are_those_of_a_loop(seed):
    losses = np.random.default_rng(seed).integers(0, 5, (4, 30)).astype(float)
    rates = win_rates(losses)
    for i in range(4):
        for j in range(4):
            wins = sum(
                1.0 if a < b else 0.5 if a == b else 0.0
                for a, b in zip(losses[i], losses[j], strict=True)
            )
            assert rates[i, j] == pytest.approx(wins / 30, abs=1e-12)
    np.testing.assert_allclose(rates + rates.T, 1, atol=1e-12)


def test_counts_are_repeated_images():
    generator = np.random.default_rng(0)
    losses, counts = generator.random((5, 7)), generator.integers(0, 4, (3, 7))
    rates = win_rates(losses, counts=counts)
    assert rates.shape == (3, 5, 5)
    for drawn, of_draw in zip(counts, rates, strict=True):
        repeated = win_rates(np.repeat(losses, drawn, axis=1))
        np.testing.assert_allclose(of_draw, repeated, atol=1e-12)


@pytest.mark.parametrize("n_sources", [2, 3, 6, 17])
def test_a_total_order_falls_by_a_constant_factor(n_sources):
    # Where i always beats j > i, the ratios are r above the diagonal, 1 on it and 1 / r below. The
    # difference of two rows of W' v = λ v says that v falls by one factor q, the last row then that
    # q to the power of M is 1 / r².
    losses = np.tile(np.arange(n_sources)[:, None], (1, 9)) + np.linspace(0, 5, 9)
    vector = principal_vector(win_rates(losses))
    expected = (ALWAYS ** (-2 / n_sources)) ** np.arange(n_sources)
    np.testing.assert_allclose(vector, expected / expected.sum(), rtol=1e-8)


def test_consistent_strengths_are_found_exactly():
    # If i wins with odds w_i : w_j, the ratios are w_i / w_j, a matrix of rank one.
    strengths = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    rates = strengths[:, None] / (strengths[:, None] + strengths)
    np.testing.assert_allclose(principal_vector(rates), strengths, atol=1e-12)


def test_ties_share():
    np.testing.assert_allclose(principal_vector(win_rates(np.ones((4, 3)))), 1 / 4)
    # Sources 1 and 2 are the same on every image.
    losses = np.array([[0.0, 0, 0, 2], [1, 1, 1, 1], [1, 1, 1, 1]])
    best, *tied = principal_vector(win_rates(losses))
    assert tied[0] == pytest.approx(tied[1], abs=1e-12)
    assert best > tied[0] > 0


def test_a_circle_of_winners_has_no_best():
    # Each of three beats the next on two images of three.
    losses = np.array([[0.0, 1, 2], [1, 2, 0], [2, 0, 1]])
    np.testing.assert_allclose(principal_vector(win_rates(losses)), 1 / 3)


@pytest.mark.parametrize("seed", range(6))
def test_the_eigenvector_is_that_of_powers(seed):
    generator = np.random.default_rng(seed)
    quality = generator.normal(size=(8, 1)) * seed  # from no order at all to a sharp one
    rates = win_rates(quality + generator.normal(size=(8, 50)))
    vector = principal_vector(rates)
    np.testing.assert_allclose(vector, powers(rates), rtol=1e-7)
    assert vector.sum() == pytest.approx(1)
    assert (vector > 0).all()


def test_batches_are_the_same_one_by_one():
    losses = np.random.default_rng(0).random((5, 40))
    counts = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=6)
    batch = win_rates(losses, counts=counts)
    together = principal_vector(batch)
    np.testing.assert_allclose(together, [principal_vector(one) for one in batch], rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_sources_images_and_scales_may_change(seed):
    generator = np.random.default_rng(seed)
    losses = generator.random((6, 25))
    vector = principal_vector(win_rates(losses))
    order = generator.permutation(6)
    np.testing.assert_allclose(principal_vector(win_rates(losses[order])), vector[order])
    images = generator.permutation(25)
    np.testing.assert_allclose(principal_vector(win_rates(losses[:, images])), vector)
    # Ordinal: how hard an image is, and the unit of losses, mean nothing.
    harder = np.exp(3 * losses) * np.linspace(1, 9, 25)
    np.testing.assert_allclose(principal_vector(win_rates(harder)), vector)


def transfers(sources, losses):
    return {target: (sources, losses + number) for number, target in enumerate("abc")}


def test_columns_are_targets_and_rows_sources_in_the_asked_order():
    losses = np.random.default_rng(0).random((3, 20))
    known = {"a": ("c", "b", "a"), "b": ("a", "b", "c"), "c": ("b", "c", "a")}
    measured = {target: (sources, losses) for target, sources in known.items()}
    affinity = affinity_matrix(measured, "abc")
    vector = principal_vector(win_rates(losses))
    for column, sources in enumerate(known.values()):
        by_source = dict(zip(sources, vector, strict=True))
        np.testing.assert_allclose(affinity[:, column], [by_source[task] for task in "abc"])
    np.testing.assert_allclose(affinity.sum(0), 1)
    # Of a subset, sources compete with each other alone.
    two = affinity_matrix(measured, "ab")
    np.testing.assert_allclose(two[:, 1], principal_vector(win_rates(losses[:2])))


def test_resampled_images_give_resampled_affinities():
    losses = np.random.default_rng(0).random((3, 20))
    counts = np.random.default_rng(1).multinomial(20, np.full(20, 1 / 20), size=4)
    drawn = affinity_matrix(transfers("abc", losses), "abc", counts=counts)
    assert drawn.shape == (4, 3, 3)
    again = affinity_matrix(transfers("abc", np.repeat(losses, counts[2], axis=1)), "abc")
    np.testing.assert_allclose(drawn[2], again, rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: affinity_matrix({}, "ab"), "no transfer to a, only to none: run the stage"),
        (
            lambda: affinity_matrix(transfers("abc", np.ones((3, 2))), "abd"),
            "no transfer to a from d",
        ),
        (
            lambda: affinity_matrix(transfers("abc", np.full((3, 2), np.nan)), "abc"),
            "transfer to a: expected finite losses",
        ),
        (lambda: win_rates(np.ones(3)), r"losses \[M, N\] .*got \(3,\)"),
        (lambda: win_rates(np.ones((3, 0))), "at least one image"),
        (lambda: win_rates(np.ones((3, 4)), counts=np.ones(3)), r"counts of 4 images, got \(3,\)"),
    ],
)
def test_what_cannot_be_ranked_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
