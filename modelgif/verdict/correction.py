"""Corrections for many suspects: what p-values are worth when several are looked at."""

from typing import Literal, get_args

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

Correction = Literal["holm", "benjamini_hochberg", "none"]


def adjust(p_values: ArrayLike, correction: Correction = "holm") -> np.ndarray:
    """Returns p-values adjusted for there being several, ``[S]``, to be compared with a level.

    - ``holm``: with at most that chance is any independent suspect accused at all, see `holm`
    - ``benjamini_hochberg``: at most that share of the accused, on average, is independent. It
      needs fewer independents where many suspects are derived. Proven for conformal p-values of
      one score with one set of independents (Bates et al., Testing for outliers with conformal
      p-values, Annals of Statistics 51, 2023)
    - ``none``: each independent suspect is accused with at most that chance

    Raises:
        ValueError: for values outside [0, 1], or an unknown correction.

    Example:
        >>> adjust([0.05, 0.2], "benjamini_hochberg")
        array([0.1, 0.2])
    """
    values = checked_p_values(p_values)
    if correction == "holm":
        return holm(values)
    if correction == "benjamini_hochberg":
        return scipy.stats.false_discovery_control(values, method="bh")
    if correction == "none":
        return values.copy()
    raise ValueError(
        f"correction must be one of {', '.join(get_args(Correction))}, got {correction!r}."
    )


def holm(p_values: ArrayLike) -> np.ndarray:
    """Returns p-values adjusted by Holm's procedure, ``[S]``.

    The i-th smallest of S is multiplied by S - i + 1, and is then at least as large as those before
    it. Rejecting what is at or below a level makes one or more false rejections with at most that
    chance, however the p-values depend on each other.

    Raises:
        ValueError: for values outside [0, 1].

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6, 1979.

    Example:
        >>> holm([0.05, 0.2, 0.01])
        array([0.1 , 0.2 , 0.03])
    """
    values = checked_p_values(p_values)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def checked_p_values(p_values: ArrayLike) -> np.ndarray:
    """Returns p-values as a vector.

    Raises:
        ValueError: for anything but numbers in [0, 1], at least one.
    """
    values = np.asarray(p_values, dtype=float)
    # Written so that NaN fails.
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"expected a vector of p-values in [0, 1], got {p_values!r}.")
    return values
