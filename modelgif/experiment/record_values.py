"""Looking numbers up in records."""

from collections.abc import Sequence
from typing import Any

import pandas as pd


def values_by(
    records: pd.DataFrame, key: str | Sequence[str], *, column: str = "value", **fixed: str
) -> dict[Any, Any]:
    """Returns one column of the records that have the `fixed` cells, in the records' order.

    Args:
        records: as `modelgif.experiment.record.read_records`, or a part of their columns.
        key: the column by which the result is looked up, or several, whose cells are a tuple.
        column: what is returned of each record.
        **fixed: the cell that a record has in a column, such as ``quantity="auc"``.

    Raises:
        ValueError: when two records have one key, because `fixed` does not tell them apart.

    Example:
        >>> import pandas as pd
        >>> records = pd.DataFrame(
        ...     {"subject": ["a", "b"], "quantity": ["auc", "auc"], "value": [0.5, 0.9]}
        ... )
        >>> values_by(records, "subject", quantity="auc")
        {'a': 0.5, 'b': 0.9}
    """
    rows = records
    for name, cell in fixed.items():
        rows = rows[rows[name] == cell]
    keys = rows[key] if isinstance(key, str) else zip(*(rows[k] for k in key), strict=True)
    found: dict[Any, Any] = {}
    for own, value in zip(keys, rows[column], strict=True):
        if own in found:
            raise ValueError(f"{own} has two records of {fixed}: say which one is asked for.")
        found[own] = value
    return found
