"""Weighted Kendall's τ of every task, and of models drawn or interchanged at random."""

import math
from collections.abc import Callable

import numpy as np

from modelgif.ranking import weighted_kendall


def taus(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns weighted Kendall's τ of every task, ``[T]``.

    Models without a score take no part. NaN where fewer than two models have one, or where the
    scores or accuracies are all alike, so that there is no order.

    Args:
        scores: ``[M, T]``, NaN where there is none.
        truth: accuracies, ``[M, T]``.
    """
    return np.array(
        [of_known(weighted_kendall, s, t) for s, t in zip(scores.T, truth.T, strict=True)]
    )


def resampled_taus(scores: np.ndarray, truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Returns τ of every task for draws of models with replacement, ``[B, T]``.

    Args:
        scores: as `taus`.
        truth: as `taus`.
        draws: which models, ``[B, M]``; all tasks see the same ones.
    """
    return np.array([taus(scores[draw], truth[draw]) for draw in draws])


def shuffled_taus(scores: np.ndarray, truth: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Returns τ of every task with the models' scores interchanged, ``[P, T]``.

    A model's scores on all tasks move together, so that what tasks have in common stays.

    Args:
        scores: as `taus`.
        truth: as `taus`.
        orders: permutations of the models, ``[P, M]``.
    """
    return np.array([taus(scores[order], truth) for order in orders])


def of_known(statistic: Callable[..., float], scores: np.ndarray, truth: np.ndarray) -> float:
    """Returns a correlation over the models that have a score, NaN where there is no order.

    Args:
        statistic: such as `modelgif.ranking.pearson`.
        scores: ``[M]``, NaN where there is none.
        truth: accuracies, ``[M]``.
    """
    known = np.isfinite(scores)
    scores, truth = scores[known], truth[known]
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(truth) == 0:
        return math.nan
    return statistic(scores, truth)


def mean_of_tasks(draws: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns means over the tasks where `values` ``[T]`` exist, of every draw ``[B, T]``."""
    return draws[:, np.isfinite(values)].mean(1)
