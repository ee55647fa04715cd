"""Agreement of distances with affinities, and its intervals."""

import numpy as np
import pytest
import scipy.stats

from modelgif.experiment.percentile_interval import percentile_interval
from task_relatedness.statistics.agreement import (
    READINGS,
    agreement,
    agreement_of_draws,
    coefficients,
    permutation_p,
)
from task_relatedness.statistics.bootstrap import (
    half_width,
    image_counts,
    resampled,
    task_counts,
)


def lists(near, apt, reading):
    """The lists of a reading by plain loops, as pairs of vectors."""
    n = len(near)
    if reading.startswith("rows"):
        near, apt = near.T, apt.T
    with_own = reading.endswith("with_diagonal")
    found = []
    for j in range(n):
        rows = [i for i in range(n) if with_own or i != j]
        found.append(([near[i, j] for i in rows], [apt[i, j] for i in rows]))
    if reading == "pairs":
        found = [tuple(np.concatenate(parts) for parts in zip(*found, strict=True))]
    return found


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_are_scipys_of_each_list(reading, ties):
    near, apt = np.random.default_rng(0).random((2, 7, 7))
    if ties:
        near, apt = np.round(4 * near), np.round(3 * apt)
    expected = [scipy.stats.spearmanr(a, b).statistic for a, b in lists(near, apt, reading)]
    found = coefficients(near, apt, reading)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert agreement(near, apt, reading) == pytest.approx(np.mean(expected), abs=1e-12)
    # Order is all that counts.
    np.testing.assert_allclose(coefficients(np.exp(3 * near), apt**3, reading), expected)


@pytest.mark.parametrize("reading", READINGS)
def test_a_batch_is_its_matrices(reading):
    near, apt = np.random.default_rng(0).random((2, 5, 6, 6))
    together = coefficients(near, apt, reading)
    np.testing.assert_allclose(
        together, [coefficients(a, b, reading) for a, b in zip(near, apt, strict=True)]
    )
    np.testing.assert_allclose(coefficients(near, apt[0], reading)[0], together[0])


@pytest.mark.parametrize("reading", READINGS)
def test_a_planted_order_is_found_and_a_shuffled_one_is_not(reading):
    generator = np.random.default_rng(0)
    apt = generator.random((17, 17))
    assert agreement(np.log(apt), apt, reading) == pytest.approx(1)
    assert agreement(-apt, apt, reading) == pytest.approx(-1)
    random = agreement(generator.random((400, 17, 17)), apt, reading)
    # Of 16 or 17 sources, one coefficient has a deviation of about 1/4; 17 · 400 are averaged.
    assert abs(random.mean()) < 0.02
    assert 0.03 < random.std() < 0.1


def test_rows_are_columns_of_the_transposed():
    near, apt = np.random.default_rng(0).random((2, 5, 5))
    for rows, columns in (("rows", "columns"), ("rows_with_diagonal", "columns_with_diagonal")):
        np.testing.assert_array_equal(
            coefficients(near, apt, rows), coefficients(near.T, apt.T, columns)
        )


def test_a_list_of_equals_has_no_coefficient():
    near, apt = np.random.default_rng(0).random((2, 5, 5))
    near[:, 2] = 1
    found = coefficients(near, apt, "columns")
    assert np.isnan(found).tolist() == [False, False, True, False, False]
    assert agreement(near, apt, "columns") == pytest.approx(np.nanmean(found))
    assert np.isnan(agreement(np.ones((5, 5)), apt, "pairs"))
    # With the diagonal, a target that is nearest to itself has an order.
    np.fill_diagonal(near, 2)
    assert not np.isnan(coefficients(near, apt, "columns_with_diagonal")).any()


def written_out(near, apt, reading, counts):
    """The agreement of a draw, every copy of a task written out, but none the source of another."""
    if reading.startswith("rows"):
        near, apt = near.T, apt.T
    copies = np.repeat(np.arange(len(counts)), counts)
    found, all_a, all_b = [], [], []
    for j in copies:
        rows = [i for i in copies if i != j]
        if reading.endswith("with_diagonal"):
            rows.append(j)
        a, b = near[rows, j], apt[rows, j]
        all_a.extend(a)
        all_b.extend(b)
        if len(set(a)) > 1 and len(set(b)) > 1:
            found.append(scipy.stats.spearmanr(a, b).statistic)
    if reading == "pairs":
        return scipy.stats.spearmanr(all_a, all_b).statistic
    return np.mean(found) if found else np.nan


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("ties", [False, True])
def test_a_draw_of_tasks_is_the_matrix_written_out(reading, ties):
    near, apt = np.random.default_rng(1).random((2, 6, 6))
    if ties:
        near, apt = np.round(5 * near), np.round(5 * apt)
    counts = task_counts(6, 20, seed=2)
    expected = [written_out(near, apt, reading, drawn) for drawn in counts]
    found = agreement_of_draws(near, apt, reading, counts)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    once = agreement_of_draws(near, apt, reading, np.ones((1, 6), dtype=int))
    assert once[0] == pytest.approx(agreement(near, apt, reading), abs=1e-12)


def test_draws_of_tasks_are_as_many_and_of_three_at_least():
    counts = task_counts(4, 500, seed=0)
    assert counts.shape == (500, 4)
    assert (counts.sum(1) == 4).all()
    assert ((counts > 0).sum(1) >= 3).all()
    # 4! of 4 ⁴ draws have all four, 144 have three; the others are drawn again.
    assert ((counts > 0).sum(1) == 4).mean() == pytest.approx(24 / (24 + 144), abs=0.06)
    np.testing.assert_array_equal(counts, task_counts(4, 500, seed=0))
    assert (counts != task_counts(4, 500, seed=1)).any()
    with pytest.raises(ValueError, match="at least three tasks, got 2"):
        task_counts(2, 5, seed=0)


def test_resampled_references_are_means_of_the_drawn():
    each = np.random.default_rng(0).random((4, 4, 9))
    counts = image_counts(9, 6, seed=3)
    assert (counts.sum(1) == 9).all()
    drawn = resampled(each, counts)
    assert drawn.shape == (6, 4, 4)
    for number, of_draw in enumerate(counts):
        expected = each[..., np.repeat(np.arange(9), of_draw)].mean(-1)
        np.testing.assert_allclose(drawn[number], expected)


def test_a_spread_over_resampled_images_is_the_error_of_a_mean():
    values = np.random.default_rng(0).normal(size=400)
    drawn = resampled(values[None, None], image_counts(400, 2000, seed=0))[:, 0, 0]
    assert half_width(drawn) == pytest.approx(1.96 * values.std() / 20, rel=0.06)


def test_what_does_not_exist_is_left_out_of_half_widths():
    assert half_width(np.array([1.0, 3.0, np.nan])) == pytest.approx(1.96)
    for few in ([np.nan, 0.5], [np.nan], []):
        assert half_width(np.array(few)) is None


def world(generator, n_tasks, noise):
    """Tasks at random places: near ones transfer well, and both are seen through noise."""
    places = generator.normal(size=(n_tasks, 3)) * [3, 1, 1]
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    seen = generator.normal(size=(n_tasks, n_tasks))
    near = -apart + noise * (seen + seen.T) / 2
    np.fill_diagonal(near, 0)
    return near, -apart + noise * generator.normal(size=(n_tasks, n_tasks))


@pytest.mark.parametrize("reading", ["columns", "rows", "pairs"])
def test_intervals_for_other_tasks_hold_the_true_agreement(reading):
    generator = np.random.default_rng(0)
    worlds = [world(generator, 12, noise=1.5) for _ in range(1500)]
    near, apt = (np.stack(matrices) for matrices in zip(*worlds, strict=True))
    every = agreement(near, apt, reading)
    held, widths = 0, []
    for number in range(80):
        counts = task_counts(12, 150, seed=number)
        draws = agreement_of_draws(near[number], apt[number], reading, counts)
        low, high = percentile_interval(draws)
        held += low <= every.mean() <= high
        widths.append(high - low)
    assert held / 80 > 0.9
    # Nor are they wider than needed: 3.92 deviations would be right if all worlds were alike.
    assert np.median(widths) < 5.5 * every.std()


def test_p_values_are_small_for_planted_and_level_for_random_orders():
    generator = np.random.default_rng(0)
    apt = generator.random((8, 8))
    planted = permutation_p(apt, apt, "columns", n_permutations=99, seed=0)
    assert planted == pytest.approx(1 / 100)
    assert permutation_p(-apt, apt, "columns", n_permutations=99, seed=0) == 1
    values = [
        permutation_p(near, apt, "pairs", n_permutations=99, seed=number)
        for number, near in enumerate(generator.random((300, 8, 8)))
    ]
    assert np.mean(values) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(values) <= 0.05) == pytest.approx(0.05, abs=0.035)


@pytest.mark.parametrize(
    ("near", "apt", "reading", "message"),
    [
        (np.ones((2, 2)), np.ones((2, 2)), "columns", r"three tasks or more, got \(2, 2\)"),
        (np.ones((3, 3)), np.ones((4, 4)), "columns", r"got \(3, 3\) and \(4, 4\)"),
        (np.ones((3, 4)), np.ones((3, 4)), "columns", r"got \(3, 4\)"),
        (np.ones(9), np.ones(9), "columns", r"got \(9,\)"),
        (np.full((3, 3), np.nan), np.ones((3, 3)), "pairs", "nearness must be finite"),
        (np.ones((3, 3)), np.full((3, 3), np.inf), "pairs", "affinity must be finite"),
        (np.ones((3, 3)), np.ones((3, 3)), "diagonals", "one of .* got 'diagonals'"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(near, apt, reading, message):
    with pytest.raises(ValueError, match=message):
        coefficients(near, apt, reading)
