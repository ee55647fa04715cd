import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from modelgif.lineage._null import (
    derangement_shares,
    log_fixed_points,
    log_increasing,
    longest_increasing,
)
from modelgif.lineage.matching import match_units

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_fixed_points_have_the_law_of_all_permutations(n):
    counts = [sum(i == p for i, p in enumerate(o)) for o in itertools.permutations(range(n))]
    for k in range(n + 1):
        share = Fraction(sum(c >= k for c in counts), math.factorial(n))
        assert math.exp(log_fixed_points(n, k)) == pytest.approx(float(share), rel=1e-12)


def test_fixed_points_of_many_units_do_not_underflow():
    # 1 / 2048!, which no float holds.
    assert log_fixed_points(2048, 2048) == pytest.approx(-math.lgamma(2049))
    # Many are nearly Poisson: P(F >= 1) = 1 - 1/e.
    assert math.exp(log_fixed_points(1000, 1)) == pytest.approx(1 - math.exp(-1), rel=1e-12)


def test_shares_of_derangements():
    exact = [1, 0, 1 / 2, 2 / 6, 9 / 24, 44 / 120]
    assert derangement_shares(5) == pytest.approx(exact)
    assert len(derangement_shares(100)) == 101


@pytest.mark.parametrize("n", [1, 2, 4, 6, 7])
def test_the_bound_on_increasing_subsequences_holds(n):
    lengths = [brute_longest(order) for order in itertools.permutations(range(n))]
    for m in range(n + 1):
        share = sum(length >= m for length in lengths) / len(lengths)
        assert math.exp(log_increasing(n, m)) >= share * (1 - 1e-12)
    assert math.exp(log_increasing(n, n)) == pytest.approx(1 / math.factorial(n))


def test_longest_increasing_is_that_of_brute_force():
    for order in itertools.permutations(range(6)):
        assert longest_increasing(order) == brute_longest(order)
    assert longest_increasing([2, 2, 2]) == 1
    assert longest_increasing([]) == 0


def brute_longest(order):
    ends = []
    for i, value in enumerate(order):
        ends.append(1 + max((ends[j] for j in range(i) if order[j] < value), default=0))
    return max(ends, default=0)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (5, 3), (3, 5)])
def test_matching_has_the_largest_sum_of_all(n, m):
    rng = np.random.default_rng(0)
    for _ in range(20):
        similarity = torch.from_numpy(rng.normal(size=(n, m)))
        found = match_units(similarity, rng)
        total = sum(float(similarity[i, j]) for j, i in enumerate(found) if i >= 0)
        few, many = sorted((n, m))
        wide = similarity if n < m else similarity.T
        best = max(
            sum(float(wide[i, j]) for i, j in enumerate(order))
            for order in itertools.permutations(range(many), few)
        )
        assert total == pytest.approx(best)
        assert sorted(i for i in found if i >= 0) == sorted(set(found) - {-1})


def test_ties_are_broken_uniformly():
    rng = np.random.default_rng(1)
    tied = torch.zeros(3, 3)
    found = [tuple(match_units(tied, rng)) for _ in range(1200)]
    counts = [found.count(order) for order in itertools.permutations(range(3))]
    # Each of six has 200 expected, with a deviation of 13.
    assert min(counts) > 140
    assert max(counts) < 260


def test_partial_ties_do_not_favour_the_diagonal():
    rng = np.random.default_rng(2)
    similarity = torch.zeros(40, 40)
    similarity[:5] = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    fixed = [int((match_units(similarity, rng) == np.arange(40)).sum()) for _ in range(300)]
    assert np.mean(fixed) == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("call", [log_fixed_points, log_increasing])
def test_impossible_counts_are_refused(call):
    with pytest.raises(ValueError, match="must be between 0 and 3, got 4"):
        call(3, 4)
