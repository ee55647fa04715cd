"""What verbs print: tables for people, JSON for machines."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click
import pandas as pd

from modelgif.loading.address import as_address, parse_address
from modelgif.reporting.table import to_markdown


def print_result(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints a result: frames as tables, notes and other values a line each, or all as JSON.

    Frames become lists of rows in JSON, where a missing value is null.
    """
    if as_json:
        plain = {name: _plain(value) for name, value in result.items()}
        click.echo(json.dumps(plain, indent=2, allow_nan=False))
        return
    for name, value in result.items():
        if isinstance(value, pd.DataFrame):
            click.echo(f"\n{to_markdown(value, digits=3)}")
        elif isinstance(value, float):
            click.echo(f"{name.replace('_', ' ')}: {value:.4f}")
        elif name == "notes":
            for note in value:
                click.echo(f"note: {note}")
        else:
            click.echo(f"{name.replace('_', ' ')}: {value}")


def model_names(addresses: Sequence[str]) -> list[str]:
    """Returns a short name for each address, numbered where two would be alike.

    Names are made of letters, digits and ``._-`` alone, so that they may name files.
    """
    names = [parse_address(as_address(address)).short_name for address in addresses]
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model" for name in names]
    if len(set(plain)) == len(plain):
        return plain
    return [f"{number}-{name}" for number, name in enumerate(plain, start=1)]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.DataFrame):
        return value.astype(object).where(value.notna(), None).to_dict(orient="records")
    return value
