import numpy as np
import pytest

from modelgif.experiment.percentile_interval import percentile_interval

VALUES = np.linspace(0, 1, 101)


def test_the_interval_is_between_two_quantiles() -> None:
    assert percentile_interval(VALUES) == pytest.approx((0.025, 0.975))
    assert percentile_interval(VALUES, tails=(0.05, 0.95)) == pytest.approx((0.05, 0.95))


def test_draws_that_do_not_exist_are_left_out() -> None:
    draws = np.array([*VALUES, np.nan, np.nan])
    assert percentile_interval(draws) == pytest.approx((0.025, 0.975))
    assert percentile_interval(np.append(VALUES, np.nan), tails=(0.05, 0.95)) == pytest.approx(
        (0.05, 0.95)
    )
    for few in ([np.nan, 0.5], [np.nan], []):
        assert percentile_interval(np.array(few)) is None


def test_most_draws_can_be_required() -> None:
    assert percentile_interval(np.array([1.0, np.nan]), min_known=2) is None
    assert percentile_interval(np.array([1.0, 2.0, np.nan, np.nan]), min_known=3) is None
    assert percentile_interval(np.array([1.0, 2.0, 3.0, np.nan]), min_known=3) is not None
