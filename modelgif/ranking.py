"""Rank statistics: how well distances separate, how well they order, and how well they choose."""

import numpy as np
import scipy.optimize
import scipy.stats
from numpy.typing import ArrayLike


def auc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Returns the area under the ROC curve, where smaller distances mean "derived".

    It is the probability that a derived model is nearer than an independent one, ties counted half
    (Mann-Whitney).

    Args:
        positives: distances of derived models, ``[P]``.
        negatives: distances of independent models, ``[N]``.

    Raises:
        ValueError: when either is empty or not finite.

    Example:
        >>> auc([0.1, 0.2], [0.2, 0.5, 0.9])
        0.9166666666666666
    """
    near, far = _distances(positives, "positives"), _distances(negatives, "negatives")
    u = scipy.stats.mannwhitneyu(far, near, method="asymptotic").statistic
    return float(u / (len(near) * len(far)))


def auc_interval(
    value: float, n_positives: int, n_negatives: int, *, level: float = 0.95
) -> tuple[float, float]:
    """Returns a confidence interval of an AUC from the numbers of models alone.

    It inverts the score test, ``|A - θ| = z √V(θ)`` with Hanley and McNeil's variance, and so keeps
    its width where the measured AUC is 1 and resampling would claim certainty.

    Raises:
        ValueError: for an AUC outside [0, 1], no models, or a level outside (0, 1).

    Source: Newcombe, Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic, part 2, Statistics in Medicine 25, 2006, method 5.

    Example:
        >>> low, high = auc_interval(1.0, 8, 19)
        >>> round(low, 2), round(high, 2)
        (0.82, 1.0)
    """
    if not 0 <= value <= 1 or min(n_positives, n_negatives) < 1 or not 0 < level < 1:
        raise ValueError(
            f"expected an AUC in [0, 1] of at least one model per side and a level in (0, 1), "
            f"got {value}, {n_positives}, {n_negatives}, {level}."
        )
    z = float(scipy.stats.norm.ppf((1 + level) / 2))
    more = (n_positives + n_negatives) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + more * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        variance = theta * (1 - theta) * spread / (n_positives * n_negatives)
        return (value - theta) ** 2 - z**2 * variance

    # Just inside (0, 1), because 0 and 1 themselves are roots when they are the measured value.
    inside = min(max(value, 1e-9), 1 - 1e-9)
    low = scipy.optimize.root_scalar(excess, bracket=(0, inside)).root if value > 0 else 0
    high = scipy.optimize.root_scalar(excess, bracket=(inside, 1)).root if value < 1 else 1
    return float(low), float(high)


def tpr_at_fpr(positives: ArrayLike, negatives: ArrayLike, *, fpr: float = 0.05) -> float:
    """Returns the largest share of `positives` found while at most `fpr` of `negatives` are.

    A model is found when its distance is at or below a threshold. With fewer than ``1/fpr``
    negatives no false positive is allowed at all.

    Raises:
        ValueError: as `auc`, or for a rate outside [0, 1].

    Example:
        >>> tpr_at_fpr([0.1, 0.2, 0.6], [0.5, 0.7, 0.9])
        0.6666666666666666
    """
    near, far = _distances(positives, "positives"), np.sort(_distances(negatives, "negatives"))
    if not 0 <= fpr <= 1:
        raise ValueError(f"fpr must lie in [0, 1], got {fpr}.")
    # 1e-9: 0.05 · 20 must allow one false positive whatever the rounding.
    allowed = int(fpr * len(far) + 1e-9)
    if allowed == len(far):
        return 1.0
    return float(np.mean(near < far[allowed]))


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Returns Spearman's rank correlation of two vectors ``[K]``, ties at their mean rank.

    Raises:
        ValueError: if the lengths do not match, for fewer than two values, values that are not
            finite, or a constant vector.

    Example:
        >>> round(spearman([1, 2, 3, 4], [1, 2, 4, 3]), 6)
        0.8
    """
    first, second = _rankable(a, b)
    return float(np.corrcoef(scipy.stats.rankdata(first), scipy.stats.rankdata(second))[0, 1])


def columnwise_spearman(a: ArrayLike, b: ArrayLike, *, diagonal: bool = True) -> np.ndarray:
    """Returns Spearman's correlation of each column of two matrices ``[K, K]``, ``[K]``.

    The paper's figure of task relatedness is the mean of it, with the diagonal.

    Args:
        a: a matrix, such as distances.
        b: a matrix of the same rows and columns, such as transfer affinities.
        diagonal: whether the entry of each task with itself takes part.

    Raises:
        ValueError: for matrices that are not square or not of one size, or as `spearman`.

    Example:
        >>> distances = [[0, 1, 2], [1, 0, 3], [2, 3, 0]]
        >>> affinities = [[9, 5, 6], [5, 9, 3], [6, 3, 9]]
        >>> columnwise_spearman(distances, affinities).round(6)
        array([-0.5, -1. , -1. ])
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.ndim != 2 or first.shape[0] != first.shape[1] or first.shape != second.shape:
        raise ValueError(
            f"expected two square matrices of one size, got {first.shape} and {second.shape}."
        )
    n = len(first)
    rows = [np.arange(n) if diagonal else np.delete(np.arange(n), j) for j in range(n)]
    return np.array([spearman(first[r, j], second[r, j]) for j, r in enumerate(rows)])


def weighted_kendall(scores: ArrayLike, truth: ArrayLike) -> float:
    """Returns Kendall's τ_w with hyperbolic weights, the measure of transferability scores.

    Ranks weigh by both orderings, as in LogME and PED (Vigna, WWW 2015; `scipy.stats.weightedtau`).

    Args:
        scores: predicted scores, ``[M]``, higher is better.
        truth: fine-tuned accuracies, ``[M]``.

    Raises:
        ValueError: as `spearman`.

    Example:
        >>> round(weighted_kendall([0.2, 0.5, 0.9], [71, 80, 84]), 6)
        1.0
    """
    return float(np.asarray(scipy.stats.weightedtau(*_rankable(scores, truth)))[0])


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """Returns Pearson's correlation of two vectors ``[K]``.

    Raises:
        ValueError: as `spearman`.

    Example:
        >>> round(pearson([1, 2, 3], [2, 4, 7]), 3)
        0.993
    """
    return float(np.corrcoef(*_rankable(a, b))[0, 1])


def top_1_regret(scores: ArrayLike, truth: ArrayLike) -> float:
    """Returns how much of the best accuracy is lost by choosing the model of the highest score.

    Of models with one score each is chosen with equal probability, and the mean is returned.

    Args:
        scores: predicted scores, ``[M]``, higher is better.
        truth: fine-tuned accuracies, ``[M]``; the regret is in their unit.

    Raises:
        ValueError: if the lengths do not match, for no model, or values that are not finite.

    Example:
        >>> top_1_regret([0.9, 0.5, 0.1], [82, 84, 70])
        2.0
    """
    predicted, accuracy = _choosable(scores, truth)
    return float(accuracy.max() - accuracy @ _in_top(predicted, 1))


def top_k_recall(scores: ArrayLike, truth: ArrayLike, k: int) -> float:
    """Returns the share of the `k` best models that are among the `k` of the highest scores.

    Where a tie leaves open who is among them, on either side, the mean over all ways is returned.

    Args:
        scores: predicted scores, ``[M]``, higher is better.
        truth: fine-tuned accuracies, ``[M]``.
        k: how many, 1 to M.

    Raises:
        ValueError: as `top_1_regret`, or for `k` out of range.

    Example:
        >>> top_k_recall([0.9, 0.5, 0.1], [82, 70, 84], 2)
        0.5
    """
    predicted, accuracy = _choosable(scores, truth)
    if not 1 <= k <= len(accuracy):
        raise ValueError(f"k must lie in 1 .. {len(accuracy)}, the number of models, got {k}.")
    return float(_in_top(predicted, k) @ _in_top(accuracy, k) / k)


def precision_at_k(scores: ArrayLike, truth: ArrayLike, k: int, *, n_relevant: int = 5) -> float:
    """Returns which share of the `k` highest scores belongs to the `n_relevant` best, P@K.

    Where a tie leaves open who is among them, on either side, the mean over all ways is returned.

    Args:
        scores: predicted scores, ``[M]``, higher is better.
        truth: what they are to predict, ``[M]``, higher is better.
        k: how many are retrieved, 1 to M.
        n_relevant: how many of the best count as relevant, 1 to M.

    Raises:
        ValueError: as `top_1_regret`, or for `k` or `n_relevant` out of range.

    Source: Song et al., Deep Model Transferability from Attribution Maps, NeurIPS 2019, section 4,
    where the five best sources of a target are relevant.

    Example:
        >>> precision_at_k([0.9, 0.5, 0.1], [82, 70, 84], 1, n_relevant=2)
        1.0
    """
    return _hits(scores, truth, k, n_relevant) / k


def recall_at_k(scores: ArrayLike, truth: ArrayLike, k: int, *, n_relevant: int = 5) -> float:
    """Returns which share of the `n_relevant` best is among the `k` highest scores, R@K.

    All else is as in `precision_at_k`; with ``n_relevant = k`` it is `top_k_recall`.

    Example:
        >>> recall_at_k([0.9, 0.5, 0.1], [82, 70, 84], 1, n_relevant=2)
        0.5
    """
    return _hits(scores, truth, k, n_relevant) / n_relevant


def _hits(scores: ArrayLike, truth: ArrayLike, k: int, n_relevant: int) -> float:
    """Returns how many of the `n_relevant` best are among the `k` highest, expected over ties."""
    predicted, best = _choosable(scores, truth)
    for name, count in (("k", k), ("n_relevant", n_relevant)):
        if not 1 <= count <= len(best):
            raise ValueError(f"{name} must lie in 1 .. {len(best)}, the number of scores: {count}.")
    return float(_in_top(predicted, k) @ _in_top(best, n_relevant))


def _in_top(values: np.ndarray, k: int) -> np.ndarray:
    """Returns the probability of each value to be among the `k` highest, ties in random order."""
    least = np.sort(values)[-k]
    above, tied = values > least, values == least
    return above + tied * (k - above.sum()) / tied.sum()


def _choosable(scores: ArrayLike, truth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(scores, dtype=float), np.asarray(truth, dtype=float)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(
            "expected scores and truth as two vectors of one length, at least 1, "
            f"got shapes {first.shape} and {second.shape}."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("values to choose by must be finite, got NaN or infinity.")
    return first, second


def _rankable(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            "expected two vectors of one length, at least 2, "
            f"got shapes {first.shape} and {second.shape}."
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("values to rank must be finite, got NaN or infinity.")
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise ValueError("a constant vector has no ranks to correlate.")
    return first, second


def _distances(values: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"{what} must be a non-empty vector of finite distances, got {values!r}.")
    return array
