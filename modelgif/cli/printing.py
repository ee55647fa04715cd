"""What verbs print: tables for people, JSON for machines."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from modelgif.reporting.markdown import rows_to_markdown


@dataclass(frozen=True)
class Table:
    """What `print_result` shows as a table.

    Attributes:
        rows: one mapping per row, with the same keys in the same order.
    """

    rows: Sequence[Mapping[str, Any]]


def print_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints a result: tables, notes and other values one per line, or all as JSON.

    ``answers`` maps names of models, which are printed as they are, to a sentence each.

    A table is a list of objects in JSON, where a missing value is null.
    """
    if as_json:
        plain = {name: _plain(value) for name, value in result.items()}
        click.echo(json.dumps(plain, indent=2, allow_nan=False))
        return
    for name, value in result.items():
        if isinstance(value, Table):
            if value.rows:
                click.echo(f"\n{rows_to_markdown(value.rows, digits=3)}")
        elif name == "answers":
            for model, answer in value.items():
                click.echo(f"{model}: {answer}")
        elif isinstance(value, float):
            click.echo(f"{name.replace('_', ' ')}: {value:.4f}")
        elif name == "notes":
            for note in value:
                click.echo(f"note: {note}")
        else:
            click.echo(f"{name.replace('_', ' ')}: {value}")


def model_names(addresses: Sequence[str]) -> list[str]:
    """Returns a short name for each address, numbered where two would be equal.

    Names consist of letters, digits and ``._-``, so that they can name files.
    """
    from modelgif.loading.address import as_address, parse_address

    names = [parse_address(as_address(address)).short_name for address in addresses]
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model" for name in names]
    if len(set(plain)) == len(plain):
        return plain
    return [f"{number}-{name}" for number, name in enumerate(plain, start=1)]


def _plain(value: Any) -> Any:
    if not isinstance(value, Table):
        return value
    return [
        {
            title: None if isinstance(cell, float) and math.isnan(cell) else cell
            for title, cell in row.items()
        }
        for row in value.rows
    ]
