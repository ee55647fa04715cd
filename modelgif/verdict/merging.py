"""One p-value out of several of the same suspect, valid however these depend on each other."""

from typing import Literal, get_args

from numpy.typing import ArrayLike

from modelgif.verdict.correction import checked_p_values

Merging = Literal["mean", "minimum"]


def merge_p_values(p_values: ArrayLike, rule: Merging = "mean") -> float:
    """Returns one p-value out of those of several methods.

    If each is valid, so is the result. It is for methods that were calibrated by different
    independents; where all know the same ones, `modelgif.verdict.combined_p_value` loses nothing to
    the unknown dependence.

    - ``mean``: twice the mean, for methods that agree
    - ``minimum``: the smallest times their number (Bonferroni), for methods that each see something
      else

    Args:
        p_values: one per method, ``[M]``.
        rule: to be chosen before the p-values are seen.

    Raises:
        ValueError: for values outside [0, 1], or an unknown rule.

    Source: Rüschendorf, Random variables with maximum sums, Advances in Applied Probability 14,
    1982; Vovk & Wang, Combining p-values via averaging, Biometrika 107, 2020.

    Example:
        >>> merge_p_values([0.02, 0.04])
        0.06
        >>> merge_p_values([0.02, 0.04], "minimum")
        0.04
    """
    values = checked_p_values(p_values)
    if rule == "mean":
        # A single p-value needs no doubling.
        return float(min(1, values.mean() * min(2, len(values))))
    if rule == "minimum":
        return float(min(1, values.min() * len(values)))
    raise ValueError(f"rule must be one of {', '.join(get_args(Merging))}, got {rule!r}.")
