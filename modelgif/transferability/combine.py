"""Scores made of several parts, summed after scaling over the compared models."""

from collections.abc import Sequence

import numpy as np


def scaled_sum(
    parts: Sequence[Sequence[float]], *, signs: Sequence[int] | None = None
) -> np.ndarray:
    """Returns one score per model, ``[M]``: its parts scaled to [0, 1] over the models, and summed.

    A part in which all models agree says nothing and counts 0. The scores depend on which models
    are compared.

    Args:
        parts: the K parts of every model, ``[M, K]``.
        signs: 1 for a part where more is better and -1 where less is; None for 1 everywhere.

    Raises:
        ValueError: for a table that is not a finite ``[M, K]``, or signs that do not fit.

    Example:
        >>> from modelgif.transferability import scaled_sum
        >>> scaled_sum([[0.0, 5.0], [10.0, 1.0], [5.0, 3.0]], signs=(1, -1)).tolist()
        [-1.0, 1.0, 0.0]
    """
    table = np.array(parts, dtype=float)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(f"expected a finite table [models, parts], got shape {table.shape}.")
    weights = np.ones(table.shape[1]) if signs is None else np.array(signs, dtype=float)
    if weights.shape != table.shape[1:] or not np.isin(weights, (-1, 1)).all():
        raise ValueError(f"expected one sign per part, {table.shape[1]} of ±1, got {signs!r}.")
    least, spread = table.min(0), np.ptp(table, axis=0)
    return ((table - least) / np.where(spread > 0, spread, 1)) @ weights
