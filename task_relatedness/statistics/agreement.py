"""How well a matrix of distances orders tasks as a matrix of transfer affinities does.

Everything is Spearman's correlation of *nearness*, which is minus a distance or a similarity, with
affinity: 1 means that the nearer a source, the better it transfers. The paper prints correlations
of distances, which have the other sign.
"""

from typing import Literal, get_args

import numpy as np
import scipy.stats

# Which lists of entries are ranked; `affinity` has a source a row and a target a column.
# - columns: the sources of each target, and the mean over targets; with the target itself among
#   its sources in the paper's figure
# - rows: the targets of each source, and the mean over sources
# - pairs: all pairs of different tasks in one list
Reading = Literal["columns_with_diagonal", "columns", "rows_with_diagonal", "rows", "pairs"]
READINGS: tuple[Reading, ...] = get_args(Reading)


def agreement(nearness: np.ndarray, affinity: np.ndarray, reading: Reading) -> np.ndarray:
    """Returns the mean of `coefficients`, ``[...]``; NaN where none exists."""
    found = coefficients(nearness, affinity, reading)
    return _mean(found, np.ones(found.shape))


def coefficients(nearness: np.ndarray, affinity: np.ndarray, reading: Reading) -> np.ndarray:
    """Returns Spearman's correlation of each list, ``[..., L]``: L lists are M, or 1 for `pairs`.

    A list of equal values has no order; its coefficient is NaN.

    Args:
        nearness: ``[..., M, M]``, large for tasks alike.
        affinity: of source (row) for target (column), ``[..., M, M]``; batches broadcast.
        reading: which entries make a list.

    Raises:
        ValueError: when the matrices are not square, not of one size, of fewer than three tasks, or
            not finite.
    """
    near, apt = _lists(nearness, affinity, reading)
    of_near, of_apt = (scipy.stats.rankdata(values, axis=-2) for values in (near, apt))
    return _correlation(of_near, of_apt, np.ones(near.shape[-2:]))


def agreement_of_draws(
    nearness: np.ndarray, affinity: np.ndarray, reading: Reading, counts: np.ndarray
) -> np.ndarray:
    """Returns the agreement when tasks are drawn with replacement, ``[B]``; NaN where none exists.

    A task that is drawn twice is two sources and two targets. A copy is not a source of another
    copy: no such transfer was measured, and the entry of a task with itself would stand in for it
    as a perfect one. With the diagonal, each target is once among its own sources.

    Args:
        nearness: ``[M, M]``.
        affinity: ``[M, M]``.
        reading: as in `coefficients`, and so are the errors.
        counts: how often each task was drawn, ``[B, M]``, three of them at least once; see
            `task_relatedness.statistics.bootstrap.task_counts`.

    Source: Snijders and Borgatti, Non-parametric standard errors and tests for network statistics,
    Connections 22, 1999, whose vertex bootstrap it is, but for leaving copies out.
    """
    near, apt = _lists(nearness, affinity, reading)
    n_tasks = counts.shape[-1]
    own = np.eye(n_tasks)
    # Of the entry in row i and column j: of a column, how often its source i is there.
    times = np.where(own, 1.0, counts[:, :, None])
    if reading == "pairs":
        times, of_lists = times * counts[:, None, :], np.ones((len(counts), 1))
    else:
        of_lists = counts
    weights = _entries(times, reading)
    found = _correlation(_weighted_ranks(near, weights), _weighted_ranks(apt, weights), weights)
    return _mean(found, of_lists)


def permutation_p(
    nearness: np.ndarray, affinity: np.ndarray, reading: Reading, *, n_permutations: int, seed: int
) -> float:
    """Returns how often nearness of interchanged tasks agrees as well, Mantel's p-value.

    Raises:
        ValueError: as `coefficients`.
    """
    generator = np.random.default_rng(seed)
    orders = generator.permuted(np.tile(np.arange(len(nearness)), (n_permutations, 1)), axis=1)
    shuffled = nearness[orders[:, :, None], orders[:, None, :]]
    reached = (
        agreement(shuffled, affinity, reading) >= agreement(nearness, affinity, reading) - 1e-12
    )
    return float((1 + reached.sum()) / (1 + n_permutations))


def _lists(
    nearness: np.ndarray, affinity: np.ndarray, reading: Reading
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both matrices as lists, ``[..., entries, L]``."""
    shape = np.shape(nearness)[-2:]
    if len(shape) != 2 or shape != np.shape(affinity)[-2:] or shape[0] != shape[1] or shape[0] < 3:
        raise ValueError(
            "expected nearness and affinity of the same three tasks or more, "
            f"got {np.shape(nearness)} and {np.shape(affinity)}."
        )
    for name, matrix in (("nearness", nearness), ("affinity", affinity)):
        if not np.isfinite(matrix).all():
            raise ValueError(f"{name} must be finite.")
    if reading not in READINGS:
        raise ValueError(f"a reading is one of {', '.join(READINGS)}, got {reading!r}.")
    if reading.startswith("rows"):
        nearness, affinity = (np.swapaxes(m, -1, -2) for m in (nearness, affinity))
    return _entries(nearness, reading), _entries(affinity, reading)


def _entries(matrix: np.ndarray, reading: Reading) -> np.ndarray:
    n = matrix.shape[-1]
    if reading.endswith("with_diagonal"):
        return matrix
    others = np.array([np.delete(np.arange(n), j) for j in range(n)]).T
    columns = matrix[..., others, np.arange(n)]
    return columns.reshape(*columns.shape[:-2], -1, 1) if reading == "pairs" else columns


def _weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the mean rank of each value in its list ``[n, L]`` when it is there `weights` times.

    Counted from 0 and less by one half, which correlations do not see. The result is ``[B, n, L]``.
    """
    lists = values.T  # [L, n]
    below = (lists[:, None, :] < lists[:, :, None]) + (lists[:, None, :] == lists[:, :, None]) / 2
    return np.moveaxis(below @ np.moveaxis(weights, 0, 2).swapaxes(0, 1), 2, 0).swapaxes(1, 2)


def _correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns Pearson's correlation of lists ``[..., n, L]`` with weights, NaN of constant ones."""
    total = weights.sum(-2, keepdims=True)
    first, second = (x - (weights * x).sum(-2, keepdims=True) / total for x in (a, b))
    one, other = ((weights * x * x).sum(-2) for x in (first, second))
    # Ranks are multiples of 1/2: what varies at all varies by more than rounding.
    known = np.minimum(one, other) > 1e-9
    both = np.sqrt(np.where(known, one * other, np.nan))
    return np.clip((weights * first * second).sum(-2) / both, -1, 1)


def _mean(found: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Returns the mean over lists that have a coefficient, each counted `times`."""
    times = np.where(np.isnan(found), 0, times)
    total = times.sum(-1)
    return (np.nan_to_num(found) * times).sum(-1) / np.where(total > 0, total, np.nan)
