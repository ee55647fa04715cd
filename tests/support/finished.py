"""What every testbed's finished run is held to."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modelgif.experiment.record import read_records

# Of every testbed.
FILES = ("config.yaml", "records.csv", "results.xlsx", "report.html", "zoo/roster.csv")


def check_files(folder: Path, own: Iterable[str]) -> None:
    """Fails unless a finished run has every testbed's files and its `own`, and none unfinished."""
    empty = [name for name in (*FILES, *own) if not (folder / name).stat().st_size]
    assert not empty
    assert not list(folder.rglob("*.part"))


def checked_workbook(folder: Path) -> dict[Any, pd.DataFrame]:
    """Returns the sheets of a finished run's workbook, whose records are those of the CSV file."""
    book = pd.read_excel(folder / "results.xlsx", sheet_name=None)
    records = read_records(folder / "records.csv")
    np.testing.assert_allclose(book["records"]["value"], records["value"], rtol=1e-12)
    return book
