"""Checks of the scores that verdicts are made from."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike


def contributions(scores: Mapping[str, ArrayLike], what: str) -> dict[str, np.ndarray]:
    """Returns each method's contributions, ``[models, references]``; a plain score is one of them.

    Raises:
        ValueError: for an array of another shape, or an empty one.
    """
    tables = {}
    for method, values in scores.items():
        table = np.asarray(values, dtype=float)
        table = table[:, None] if table.ndim == 1 else table
        if table.ndim != 2 or 0 in table.shape:
            raise ValueError(
                f"expected scores of {what} by {method}, [models] or [models, references], got "
                f"{list(np.shape(values))}."
            )
        tables[method] = table
    return tables


def check_contributions(
    names: Sequence[str],
    suspects: Mapping[str, np.ndarray],
    independents: Mapping[str, np.ndarray],
    weights: Mapping[str, float] | None,
) -> None:
    """Checks that the scores of suspects and independents belong together.

    Raises:
        ValueError: if methods, references or numbers of models do not match.
    """
    if not suspects or set(suspects) != set(independents):
        raise ValueError(
            "expected suspects and independents by the same methods, got "
            f"{', '.join(suspects) or 'none'} and {', '.join(independents) or 'none'}."
        )
    if weights is not None and set(weights) != set(suspects):
        raise ValueError(
            f"expected a weight of each of {', '.join(suspects)}, got {', '.join(weights)}."
        )
    count = len(next(iter(independents.values())))
    for method, table in suspects.items():
        other = independents[method]
        if (len(table), len(other)) != (len(names), count) or table.shape[1] != other.shape[1]:
            raise ValueError(
                f"expected {len(names)} suspects and {count} independents at the same references, "
                f"got {method} of shapes {list(table.shape)} and {list(other.shape)}."
            )
