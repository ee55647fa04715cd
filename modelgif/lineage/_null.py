"""Chances under the null that a matching is a uniformly random permutation, as natural logarithms.

They are exact or, where said, upper bounds, and are taken in logarithms since they underflow.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.special import gammaln


def log_fixed_points(n: int, k: int) -> float:
    """Returns log P(at least `k` fixed points) of a uniform permutation of `n`; exact.

    With d_m the share of derangements among the permutations of m,

        P(F >= k) = sum over j from k to n of d_{n-j} / j!

    Example:
        >>> round(math.exp(log_fixed_points(3, 3)) * 6)
        1
    """
    if not 0 <= k <= n:
        raise ValueError(f"fixed points must be between 0 and {n}, got {k}.")
    if k == 0:
        return 0.0
    j = np.arange(k, n + 1)
    shares = derangement_shares(n)[n - j]
    # d_1 = 0: all but one fixed is not possible.
    terms = -gammaln(j + 1.0)[shares > 0] + np.log(shares[shares > 0])
    return min(0.0, float(np.logaddexp.reduce(terms)))


def log_increasing(n: int, m: int) -> float:
    """Returns a bound on log P(an increasing subsequence of length at least `m`).

    Each of the C(n, m) subsequences of length m of a uniform permutation of n is increasing with
    probability 1/m!, so that P(L >= m) <= C(n, m) / m!. At m = n it is exact.

    Example:
        >>> round(math.exp(log_increasing(4, 4)) * 24)
        1
    """
    if not 0 <= m <= n:
        raise ValueError(f"the length must be between 0 and {n}, got {m}.")
    log_subsequences = gammaln(n + 1.0) - gammaln(m + 1.0) - gammaln(n - m + 1.0)
    return min(0.0, float(log_subsequences - gammaln(m + 1.0)))


def longest_increasing(values: Sequence[int] | np.ndarray) -> int:
    """Returns the length of the longest strictly increasing subsequence.

    Example:
        >>> longest_increasing([3, 0, 1, 5, 4])
        3
    """
    tails: list[float] = []
    for value in np.asarray(values).tolist():
        at = bisect_left(tails, value)
        tails[at : at + 1] = [value]
    return len(tails)


def derangement_shares(n: int) -> np.ndarray:
    """Returns the share of derangements among the permutations of 0, 1, …, n things."""
    shares = [_share(m) for m in range(min(n, 40) + 1)]
    # Beyond 40 the sum no longer changes in double precision.
    return np.array(shares + [math.exp(-1)] * (n - len(shares) + 1))


@cache
def _share(m: int) -> float:
    # Summed as integers: alternating terms would cancel.
    total, sign = 0, 1
    for i in range(m + 1):
        total += sign * math.factorial(m) // math.factorial(i)
        sign = -sign
    return total / math.factorial(m)
