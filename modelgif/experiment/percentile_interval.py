"""The percentile interval of bootstrap draws."""

import numpy as np


def percentile_interval(
    draws: np.ndarray, *, tails: tuple[float, float] = (0.025, 0.975), min_known: int = 2
) -> tuple[float, float] | None:
    """Returns the interval between two quantiles of the draws that exist, 95 % by default.

    Args:
        draws: ``[B]``; a draw that is not finite does not exist.
        tails: the quantiles.
        min_known: with fewer draws that exist, the interval is None.

    Example:
        >>> import numpy as np
        >>> percentile_interval(np.arange(101.0))
        (2.5, 97.5)
    """
    known = draws[np.isfinite(draws)]
    if len(known) < min_known:
        return None
    low, high = np.quantile(known, tails)
    return float(low), float(high)
