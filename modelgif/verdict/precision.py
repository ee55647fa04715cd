"""How much a number depends on which references were drawn, and how many more would settle it."""

import math
from collections.abc import Callable

import numpy as np
import scipy.stats
import torch
from numpy.typing import ArrayLike


def bootstrap_interval(
    contributions: ArrayLike,
    statistic: Callable[[np.ndarray], float],
    *,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    generator: torch.Generator,
) -> tuple[float, float]:
    """Returns the percentile interval of a statistic over references drawn again.

    References are drawn with replacement, the same for all models, so that what makes a reference
    hard for everybody cancels in comparisons.

    Args:
        contributions: of each reference, ``[N]``, or by model, ``[M, N]``.
        statistic: of such an array with as many references.
        n_bootstrap: number of draws.
        level: of the interval.
        generator: CPU generator of the draws.

    Raises:
        ValueError: for no references, numbers out of range, or a statistic that is not finite.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Example:
        >>> import numpy as np, torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> bootstrap_interval([0.5] * 8, np.mean, generator=generator)
        (0.5, 0.5)
    """
    values = np.asarray(contributions, dtype=float)
    if values.ndim not in (1, 2) or 0 in values.shape or n_bootstrap < 1:
        raise ValueError(
            "expected contributions [N] or [M, N] and at least one draw, got "
            f"{list(values.shape)} and {n_bootstrap} draws."
        )
    return percentile_interval(
        [statistic(redrawn(values, generator)) for _ in range(n_bootstrap)], level
    )


def redrawn(contributions: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """Returns as many of the last axis' references, drawn with replacement."""
    count = contributions.shape[-1]
    return contributions[..., torch.randint(count, (count,), generator=generator).numpy()]


def percentile_interval(values: ArrayLike, level: float) -> tuple[float, float]:
    """Returns the quantiles that hold the middle share `level` of `values` ``[n]`` between them.

    Raises:
        ValueError: for no values or values that are not finite, or a level outside (0, 1).
    """
    found = np.asarray(values, dtype=float)
    if not found.size or not np.isfinite(found).all() or not 0 < level < 1:
        raise ValueError(
            f"expected finite values and a level in (0, 1), got {found.size} values with "
            f"{np.count_nonzero(~np.isfinite(found))} not finite, and {level}."
        )
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def needed_references(contributions: ArrayLike, *, level: float = 0.95) -> int | None:
    """Returns how many references like these make the sign of their mean certain at `level`.

    It is the least N at which ``t(N - 1) s/√N < |mean|``: Student's confidence interval leaves out
    zero, if mean and standard deviation s stay what they are. None where the mean is zero to
    rounding: no number settles it.

    Args:
        contributions: of each reference to a comparison, such as an independent's distance less
            the suspect's, ``[N]``, at least 2.
        level: of the interval.

    Raises:
        ValueError: for fewer than two values, values that are not finite, or a bad level.

    Example:
        >>> needed_references([0.1, 0.3, 0.2, 0.4])
        4
    """
    values = np.asarray(contributions, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all() or not 0 < level < 1:
        raise ValueError(
            "expected finite contributions of at least 2 references, [N], and a level in (0, 1), "
            f"got {list(values.shape)} and {level}."
        )
    mean, spread = abs(values.mean()), values.std(ddof=1)
    if mean <= 1e-9 * spread or mean == 0:
        return None
    quantile = (1 + level) / 2
    # Student's t is wider than the normal distribution, so the search starts below the answer.
    needed = max(2, math.ceil((scipy.stats.norm.ppf(quantile) * spread / mean) ** 2))
    while scipy.stats.t.ppf(quantile, needed - 1) * spread / math.sqrt(needed) >= mean:
        needed += 1
    return needed
