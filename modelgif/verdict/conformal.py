"""Conformal p-values: how unusual a suspect would be as one more independent model."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

# Of the size of a rounding error in 1/level: 0.05 must need 19 independents, not 20.
_ROUNDING = 1e-9


def conformal_p_value(distance: float, independents: ArrayLike) -> float:
    """Returns the share of independent models, the suspect counted in, that are as near as it.

    If the suspect is exchangeable with the independents — trained as they were, without the
    victim — the chance of a p-value at or below any level is at most that level.

    Args:
        distance: of the suspect from the victim.
        independents: distances of independent models from the victim, ``[n]``.

    Raises:
        ValueError: when a distance is not finite or there is no independent model.

    Source: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, section 2.2.

    Example:
        >>> conformal_p_value(0.2, [0.1, 0.5, 0.6, 0.9])
        0.4
    """
    known = _checked(distance, independents)
    return float((1 + np.count_nonzero(known <= distance)) / (len(known) + 1))


def cross_conformal_p_value(
    suspect_scores: Sequence[float], independents_scores: Sequence[ArrayLike]
) -> float:
    """Returns the p-value of a suspect where each fold of independents is scored in its own way.

    With references that the other folds chose, fold k gives the suspect the score ``s_k``:

        p = (1 + Σ_k #{i in fold k: score_i ≤ s_k}) / (n + 1)

    Each fold alone would give an exact p-value, but their average need not be one. For an
    independent suspect, n models in K folds of one size and any level α, the chance of p ≤ α is at
    most ``2α + 2(1 - α)(K - 1)/(n + K)``; it is near α where the folds choose nearly alike. (Where
    that is not enough: `modelgif.references.selection.left_out_distances`, which is exact.)

    Args:
        suspect_scores: of the suspect, one per fold, ``[K]``.
        independents_scores: of each fold's independents, K arrays ``[n_k]``.

    Raises:
        ValueError: if the numbers of folds do not match, for an empty fold, or scores that are not
            finite.

    Source: Vovk, Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74,
    2015. The bound: Vovk & Wang, Combining p-values via averaging, Biometrika 107, 2020; Barber et
    al., Predictive inference with the jackknife+, Annals of Statistics 49, 2021.

    Example:
        >>> cross_conformal_p_value([0.2, 0.3], [[0.1, 0.5], [0.6, 0.9]])
        0.4
    """
    if not len(suspect_scores) or len(suspect_scores) != len(independents_scores):
        raise ValueError(
            "expected one score of the suspect per fold of independents, got "
            f"{len(suspect_scores)} scores and {len(independents_scores)} folds."
        )
    as_near, count = 0, 0
    for score, fold in zip(suspect_scores, independents_scores, strict=True):
        known = _checked(score, fold)
        as_near += np.count_nonzero(known <= score)
        count += len(known)
    return float((1 + as_near) / (count + 1))


def smallest_p_value(n_independents: int) -> float:
    """Returns the p-value of a suspect nearer than all `n_independents` models.

    Raises:
        ValueError: when there is no independent model.

    Example:
        >>> smallest_p_value(19)
        0.05
    """
    if n_independents < 1:
        raise ValueError(f"expected at least 1 independent model, got {n_independents}.")
    return 1 / (n_independents + 1)


def needed_independents(level: float, n_suspects: int = 1) -> int:
    """Returns how many independent models it takes for a p-value to reach `level`.

    Args:
        level: the level of the verdict, between 0 and 1.
        n_suspects: suspects that are evaluated together, by Holm's procedure or the like: with so
            many independents even the first of them reaches the level.

    Raises:
        ValueError: for a level outside (0, 1), or no suspect.

    Example:
        >>> needed_independents(0.05), needed_independents(0.05, n_suspects=3)
        (19, 59)
    """
    if not 0 < level < 1 or n_suspects < 1:
        raise ValueError(
            f"expected a level between 0 and 1 and a suspect, got {level} and {n_suspects}."
        )
    return max(1, math.ceil(n_suspects / level * (1 - _ROUNDING)) - 1)


def _checked(score: float, independents: ArrayLike) -> np.ndarray:
    known = np.asarray(independents, dtype=float)
    if known.ndim != 1 or not len(known) or not np.isfinite(known).all():
        raise ValueError(f"expected finite distances of independent models, got {independents!r}.")
    if not np.isfinite(score):
        raise ValueError(f"the suspect's distance must be finite, got {score}.")
    return known
