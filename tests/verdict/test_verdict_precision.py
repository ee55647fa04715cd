import numpy as np
import pytest
import scipy.stats
import torch

from modelgif.ranking import auc
from modelgif.verdict import bootstrap_interval, needed_references


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=60)
    low, high = bootstrap_interval(values, np.mean, n_bootstrap=4000, level=0.9, generator=seeded())
    theirs = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=4000,
        confidence_level=0.9,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert low == pytest.approx(theirs.low, abs=0.02)
    assert high == pytest.approx(theirs.high, abs=0.02)
    assert high - low > 0.2


def test_references_are_drawn_for_all_models_alike() -> None:
    # One model is always 0.1 nearer than the other, however much references differ.
    hard = np.random.default_rng(1).random(30) * 100
    contributions = np.stack([hard, hard + 0.1])
    low, high = bootstrap_interval(
        contributions,
        lambda drawn: float(np.diff(drawn.mean(1))[0]),
        n_bootstrap=50,
        generator=seeded(),
    )
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator, torch_generator = np.random.default_rng(2), seeded()
    covered = 0
    for _ in range(200):
        low, high = bootstrap_interval(
            generator.normal(1, 2, size=40),
            lambda drawn: float(drawn.mean()),
            n_bootstrap=200,
            level=0.8,
            generator=torch_generator,
        )
        covered += low <= 1 <= high
    assert covered / 200 == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / 200))


def test_interval_of_an_auc_is_repeatable() -> None:
    models = np.random.default_rng(3).random((12, 25)) + np.repeat([0, 0.1], 6)[:, None]

    def statistic(drawn: np.ndarray) -> float:
        return auc(drawn[:6].mean(1), drawn[6:].mean(1))

    first = bootstrap_interval(models, statistic, n_bootstrap=100, generator=seeded())
    assert bootstrap_interval(models, statistic, n_bootstrap=100, generator=seeded()) == first
    assert first[0] < statistic(models) <= first[1] <= 1


@pytest.mark.parametrize(
    ("contributions", "options", "message"),
    [
        (np.zeros((2, 0)), {}, r"got \[2, 0\] and 1000 draws"),
        (np.zeros((2, 2, 2)), {}, r"got \[2, 2, 2\]"),
        (np.zeros(3), {"n_bootstrap": 0}, "and 0 draws"),
        (np.zeros(3), {"level": 1.0}, r"a level in \(0, 1\), .* and 1.0"),
        (np.array([0.1, np.nan]), {"n_bootstrap": 20}, "20 values with 1?[0-9] not finite"),
    ],
)
def test_refused_intervals(contributions: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(contributions, lambda d: d.sum(), generator=seeded(), **options)


@pytest.mark.parametrize("mean", [-0.03, 0.1, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_needed_references_are_the_fewest_whose_interval_leaves_out_zero(
    mean: float, level: float
) -> None:
    values = np.random.default_rng(4).standard_normal(50)
    values = (values - values.mean()) / values.std(ddof=1) + mean
    needed = needed_references(values, level=level)
    assert needed is not None

    def p_value(n: int) -> float:
        return float(2 * scipy.stats.t.sf(abs(mean) * np.sqrt(n), n - 1))

    assert p_value(needed) < 1 - level
    assert needed == 2 or p_value(needed - 1) >= 1 - level


def test_more_references_than_needed_do_settle_it() -> None:
    generator = np.random.default_rng(5)
    values = generator.normal(0.1, 1, size=5000)
    needed = needed_references(values[:400])
    assert needed is not None
    assert 150 < needed < 5000
    assert scipy.stats.ttest_1samp(values[: 4 * needed], 0).pvalue < 0.05


def test_some_comparisons_are_settled_by_two_or_by_none() -> None:
    assert needed_references([0.2, 0.2, 0.2]) == 2
    assert needed_references([0.1, -0.1]) is None
    assert needed_references([0.0, 0.0]) is None
    assert needed_references([0.3, 0.1, -0.4]) is None  # zero but for rounding


@pytest.mark.parametrize("values", [[0.1], [[0.1, 0.2]], [0.1, float("nan")]])
def test_refused_contributions(values) -> None:
    with pytest.raises(ValueError, match="finite contributions of at least 2 references"):
        needed_references(values)
    with pytest.raises(ValueError, match=r"a level in \(0, 1\), got \[2\] and 0"):
        needed_references([0.1, 0.2], level=0)
