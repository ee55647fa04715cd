"""Several methods in one score, without losing the exact error rate of a single one.

A suspect and n independents are scored together by functions that treat all n + 1 alike. If the
suspect is one more independent, any of them is the nearest with the same chance, whatever the
methods have in common, so the conformal p-value of the combined score is exact.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Literal, get_args

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

from modelgif.verdict.conformal import conformal_p_value

Combination = Literal["sum", "min"]
# No method says more than so many standard deviations: where all others agree exactly, they would
# be infinitely many, and silence every other method.
LARGEST_DEVIATION = 20.0


def combined_p_value(
    suspect: ArrayLike,
    independents: ArrayLike,
    *,
    rule: Combination = "sum",
    weights: ArrayLike | None = None,
    suspect_group: Hashable = None,
    independent_groups: Sequence[Hashable] | None = None,
) -> float:
    """Returns the conformal p-value of a suspect by several methods at once.

    Without groups it is exact, see the module. A method that is missing for the suspect (NaN) is
    left out, and so is then an independent for which one of the remaining ones is missing; see
    `comparable`.

    Args:
        suspect: its score by each method, smaller for nearer, ``[M]``.
        independents: the same for each independent, ``[n, M]``.
        rule: see `combined_scores`, as for `weights`.
        weights: one per method, ``[M]``.
        suspect_group: the suspect's, one of `independent_groups`.
        independent_groups: the group of each independent, see `combined_scores`.

    Raises:
        ValueError: when nothing can be compared, or as `combined_scores`.

    Example:
        >>> independents = [[0.5, 0.6], [0.6, 0.5], [0.7, 0.9], [0.8, 0.7]]
        >>> combined_p_value([0.1, 0.2], independents)
        0.2
    """
    one, others = np.asarray(suspect, dtype=float), np.asarray(independents, dtype=float)
    methods, models = comparable(one, others)
    if weights is not None:
        weights = _checked_weights(weights, len(one))[methods]
    groups = None
    if independent_groups is not None:
        if len(independent_groups) != len(others):
            raise ValueError(
                f"expected the group of each of {len(others)} independent models, "
                f"got {len(independent_groups)}."
            )
        groups = [g for g, known in zip(independent_groups, models, strict=True) if known]
        groups.append(suspect_group)
    together = np.vstack([others[models][:, methods], one[methods]])
    scores = combined_scores(together, rule=rule, weights=weights, groups=groups)
    return conformal_p_value(scores[-1].item(), scores[:-1])


def combined_scores(
    scores: ArrayLike,
    *,
    rule: Combination = "sum",
    weights: ArrayLike | None = None,
    groups: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Returns one score per model from the scores of several methods, ``[m]``, smaller for nearer.

    Each score is first standardised by the mean and the standard deviation of *all other* models'
    scores by the same method. Large deviations z are shrunk, ``z/√(1 + z²/400)``, which keeps
    their order and stays within ±20. Then

    - ``sum``: the weighted sum, over the square root of the sum of squared weights
    - ``min``: the smallest, for methods that each see something else

    With `groups`, such as architectures, the other models are those of the same group, and what
    results is compared between groups. Since a group is a small sample, its standardised scores are
    Student's t if the scores are normal; they are therefore turned into the normal deviate of equal
    probability, so that groups of different sizes have the same distribution. That is exact for
    normal scores that differ between groups in mean and scale, one method at a time, and a good
    approximation otherwise.

    Args:
        scores: ``[m, M]`` for m models and M methods, finite.
        rule: how the methods are put together.
        weights: of the sum, ``[M]``, not negative; by default all are 1.
        groups: the group of each model.

    Raises:
        ValueError: for fewer than 3 models (in a group), numbers that are not finite, or weights or
            groups that do not fit.

    Example:
        >>> scores = combined_scores([[0.1, 0.2], [0.5, 0.6], [0.6, 0.5], [0.7, 0.9]])
        >>> int(scores.argmin())
        0
    """
    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or 0 in values.shape or not np.isfinite(values).all():
        raise ValueError(
            "expected finite scores of models by methods, [m, M], got an array "
            f"{list(values.shape)}" + (" with NaN or infinity." if values.ndim == 2 else ".")
        )
    if rule not in get_args(Combination):
        raise ValueError(f"rule must be one of {', '.join(get_args(Combination))}, got {rule!r}.")
    if rule == "min" and weights is not None:
        raise ValueError("weights belong to the rule sum: the smallest deviation has no weight.")
    deviations = _bounded(*_others(values)) if groups is None else _within(values, groups)
    if rule == "min":
        return deviations.min(1)
    weight = np.ones(values.shape[1])
    if weights is not None:
        weight = _checked_weights(weights, values.shape[1])
    if not weight.any():
        raise ValueError("at least one method must have a positive weight.")
    return (deviations * (weight / np.linalg.norm(weight))).sum(1)


def comparable(suspect: ArrayLike, independents: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns which methods, ``[M]``, and which independents, ``[n]``, a suspect is compared by.

    The methods are those that can describe the suspect, and the independents those that all these
    can describe. For example labels cannot be compared with a model of other classes.

    Args:
        suspect: scores, NaN where a method is missing, ``[M]``.
        independents: the same for each independent, ``[n, M]``.

    Raises:
        ValueError: for shapes that do not fit, infinite scores, or when nothing is left.

    Example:
        >>> methods, models = comparable([0.1, float("nan")], [[0.5, 0.6], [0.6, 0.5]])
        >>> methods.tolist(), models.tolist()
        ([True, False], [True, True])
    """
    one, others = np.asarray(suspect, dtype=float), np.asarray(independents, dtype=float)
    if one.ndim != 1 or others.ndim != 2 or others.shape[1] != len(one):
        raise ValueError(
            "expected scores of the suspect, [M], and of independents, [n, M], got shapes "
            f"{list(one.shape)} and {list(others.shape)}."
        )
    if np.isinf(one).any() or np.isinf(others).any():
        raise ValueError("scores must be finite, or NaN where a method is missing, got infinity.")
    methods = ~np.isnan(one)
    models = np.asarray(np.isfinite(others[:, methods]).all(1))
    if not methods.any() or not models.any():
        raise ValueError(
            "no independent model is described by the methods that describe the suspect: give "
            "independents of the suspect's kind, or leave methods out."
        )
    return methods, models


def _others(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each value's distance from the mean of all others, and their standard deviation."""
    n_others = len(values) - 1
    if n_others < 2:
        raise ValueError(f"to standardise a score takes at least 2 other models, got {n_others}.")
    # Sums that are exact in any order, less a model's own: so that the result depends on no order
    # to the bit, and equal models tie. Around the median, values without spread give exact zeros.
    centred = values - np.median(values, axis=0)
    total = np.array([math.fsum(column) for column in centred.T])
    total_squares = np.array([math.fsum(column) for column in (centred**2).T])
    mean = (total - centred) / n_others
    squares = total_squares - centred**2 - n_others * mean**2
    return centred - mean, np.sqrt(np.maximum(squares, 0) / (n_others - 1))


def _bounded(deviation: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How many `spread` each deviation is, shrunk to less than the largest."""
    scale = np.sqrt(spread**2 + (deviation / LARGEST_DEVIATION) ** 2)
    return np.divide(deviation, scale, out=np.zeros_like(deviation), where=scale > 0)


def _within(values: np.ndarray, groups: Sequence[Hashable]) -> np.ndarray:
    """Normal deviates of the same probability as each value has in its group, bounded."""
    if len(groups) != len(values):
        raise ValueError(f"expected the group of each of {len(values)} models, got {len(groups)}.")
    normal = np.empty_like(values)
    for group in dict.fromkeys(groups):
        rows = [i for i, other in enumerate(groups) if other == group]
        size = len(rows)
        if size < 3:
            raise ValueError(
                f"to standardise in groups takes at least 3 models in each, got {size} of "
                f"{group!r}."
            )
        deviation, spread = _others(values[rows])
        scale = np.abs(deviation) * math.sqrt((size - 1) / size)
        student = np.divide(scale, spread, out=np.full_like(scale, np.inf), where=spread > 0)
        # The least probability keeps the deviate of a group without spread finite.
        tail = np.maximum(scipy.stats.t.sf(student, size - 2), np.finfo(float).tiny)
        normal[rows] = np.sign(deviation) * scipy.stats.norm.isf(tail)
    return _bounded(normal, np.ones_like(normal))


def _checked_weights(weights: ArrayLike, n_methods: int) -> np.ndarray:
    weight = np.asarray(weights, dtype=float)
    if weight.shape != (n_methods,) or not (weight >= 0).all() or not np.isfinite(weight).all():
        raise ValueError(
            f"expected one weight of at least 0 for each of {n_methods} methods, got {weights!r}."
        )
    return weight
