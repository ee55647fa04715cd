"""Markdown tables from plain rows: what the command prints, without pandas."""

import re
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any


def rows_to_markdown(rows: Sequence[Mapping[str, Any]], *, digits: int = 3) -> str:
    """Returns `rows` as a GitHub Markdown table, numbers aligned right, ending in a newline.

    Floats have `digits` decimals; None and NaN are empty cells. A column of numbers is one whose
    values, except None, are all numbers.

    Args:
        rows: one mapping per row, with the same keys in the same order.
        digits: decimals of floats.

    Raises:
        ValueError: when there is no row, or the rows' keys differ.

    Example:
        >>> print(rows_to_markdown([{"model": "a", "distance": 0.25}]), end="")
        | model | distance |
        | --- | ---: |
        | a | 0.250 |
    """
    titles = list(rows[0]) if rows else []
    if not titles or any(list(row) != titles for row in rows):
        raise ValueError("a table needs at least one row, and the same columns in every row.")
    numeric = [is_numeric([row[title] for row in rows]) for title in titles]
    texts = [[shown(value, digits) for value in row.values()] for row in rows]
    return markdown_table(titles, texts, numeric)


def markdown_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]
) -> str:
    """Returns a GitHub Markdown table of texts, with the columns in `numeric` aligned right."""
    escaped = [[_escape(text) for text in row] for row in [titles, *rows]]
    escaped.insert(1, ["---:" if number else "---" for number in numeric])
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def is_numeric(values: Sequence[Any]) -> bool:
    """Returns whether at least one value is there and all that are there are numbers."""
    there = [value for value in values if value is not None]
    return bool(there) and all(
        isinstance(value, Number) and not isinstance(value, bool) for value in there
    )


def shown(value: Any, digits: int) -> str:
    """Returns how a table shows `value`: floats with `digits` decimals, None and NaN empty."""
    if value is None or value != value:
        return ""
    # "z" writes a float that rounds to zero without a minus sign.
    return f"{value:z.{digits}f}" if isinstance(value, float) else str(value)


def _escape(text: str) -> str:
    return re.sub(r"([\\|])", r"\\\1", text).replace("\n", "<br>")
