"""Tables: CSV, spreadsheets and Markdown, made from data frames."""

import os
import re
from collections.abc import Mapping
from datetime import datetime
from numbers import Number
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from modelgif.reporting.markdown import markdown_table, shown
from modelgif.storage.atomic import whole_file, write_text

_DIGITS = 4
# Excel's own limits on the name of a sheet.
_NAME_LENGTH = 31
_FORBIDDEN = frozenset("[]:*?/\\")
_MAX_WIDTH = 60
# A workbook carries its creation time; a fixed one makes equal frames give equal bytes.
_CREATED = datetime(2000, 1, 1)


def write_csv(path: str | os.PathLike[str], frame: pd.DataFrame) -> None:
    """Writes `frame` to `path` as CSV, whole or not at all; floats read back exactly.

    Raises:
        ValueError: when the index has a name, which says that it holds data.
    """
    _check_index("The frame", frame)
    with whole_file(path) as part:
        frame.to_csv(part, index=False, lineterminator="\n", encoding="utf-8")


def write_workbook(path: str | os.PathLike[str], sheets: Mapping[str, pd.DataFrame]) -> None:
    """Writes `sheets`, a frame for each sheet name, to `path` as a spreadsheet (`.xlsx`).

    Equal frames give equal bytes. The header row is bold and frozen, floats show four decimals,
    missing values are empty cells. Excel keeps about 16 significant digits, so the CSV the frames
    were read from stays the exact source. The index is not written.

    Raises:
        ValueError: when there is no sheet, Excel refuses a sheet's name, or a frame's index has a
            name, which says that it holds data.
    """
    if not sheets:
        raise ValueError("A workbook must have at least one sheet, got none.")
    for name, frame in sheets.items():
        _check_name(name)
        _check_index(f"The sheet {name!r}", frame)
    import xlsxwriter

    # In memory because temporary files would put their permissions into the archive.
    with whole_file(path) as part, xlsxwriter.Workbook(part, {"in_memory": True}) as workbook:
        workbook.set_properties({"created": _CREATED})
        header = workbook.add_format({"bold": True, "bottom": 1})
        decimals = workbook.add_format({"num_format": f"0.{'0' * _DIGITS}"})
        for name, frame in sheets.items():
            sheet = workbook.add_worksheet(name)
            sheet.freeze_panes(1, 0)
            for column, (title, values) in enumerate(frame.items()):
                sheet.write_string(0, column, str(title), header)
                texts = [str(title), *(cell_text(value, _DIGITS) for value in values)]
                sheet.set_column(column, column, min(max(map(len, texts)) + 2, _MAX_WIDTH))
                for row, value in enumerate(values, start=1):
                    if pd.isna(value):
                        continue
                    if not isinstance(value, Number):
                        sheet.write_string(row, column, str(value))
                    elif isinstance(value, float):
                        sheet.write_number(row, column, value, decimals)
                    else:
                        sheet.write(row, column, value)


def to_markdown(frame: pd.DataFrame, *, digits: int = _DIGITS) -> str:
    """Returns `frame` as a GitHub Markdown table, numbers aligned right, ending in a newline.

    Floats have `digits` decimals, missing values are empty cells, and the index is left out.

    Raises:
        ValueError: when the index has a name, which says that it holds data.
    """
    _check_index("The frame", frame)
    rows = [
        [cell_text(value, digits) for value in row]
        for row in frame.itertuples(index=False, name=None)
    ]
    numeric = [is_numeric_dtype(dtype) and not is_bool_dtype(dtype) for dtype in frame.dtypes]
    return markdown_table([str(title) for title in frame.columns], rows, numeric)


def replace_section(path: str | os.PathLike[str], name: str, text: str) -> None:
    """Puts `text` between the markers `<!-- begin NAME -->` and `<!-- end NAME -->` of a file.

    The markers and all that lies outside them stay as they are.

    Raises:
        ValueError: when either marker does not stand in the file exactly once, or their order is
            wrong; the message names the file's sections.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    whole = Path(path).read_text(encoding="utf-8")
    for marker in (begin, end):
        if (count := whole.count(marker)) != 1:
            known = re.findall(r"<!-- begin (.+?) -->", whole)
            raise ValueError(
                f"{path} must hold the marker {marker} exactly once, found {count}; "
                f"its sections are: {', '.join(known) or 'none'}."
            )
    before, _, rest = whole.partition(begin)
    _, marker, after = rest.partition(end)
    if not marker:
        raise ValueError(f"{path} must hold {begin} before {end}, found them the other way round.")
    body = text.strip("\n")
    write_text(path, f"{before}{begin}\n\n{body}\n\n{end}{after}")


def cell_text(value: Any, digits: int) -> str:
    """Returns how a table shows `value`: floats with `digits` decimals, a missing one empty."""
    return "" if pd.isna(value) else shown(value, digits)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _NAME_LENGTH:
        raise ValueError(
            f"A sheet name must have 1 to {_NAME_LENGTH} characters, got {len(name)} in {name!r}; "
            "shorten it."
        )
    if forbidden := sorted(_FORBIDDEN & set(name)):
        raise ValueError(
            f"A sheet name must have none of {' '.join(sorted(_FORBIDDEN))}, "
            f"got {' '.join(forbidden)} in {name!r}; rename it."
        )


def _check_index(owner: str, frame: pd.DataFrame) -> None:
    named = [str(name) for name in frame.index.names if name is not None]
    if named:
        raise ValueError(
            f"{owner} must have its data in columns, got an index named {', '.join(named)}; "
            "call reset_index() first."
        )
