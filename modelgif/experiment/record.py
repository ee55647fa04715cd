"""Records: the rows of results that every table and figure is made from, and their conditions."""

import csv
import io
import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, NamedTuple

import pandas as pd
import torch

from modelgif.experiment.sealed_csv import sealed_bytes, write_sealed_csv


@dataclass(frozen=True)
class Record:
    """One measured number with the conditions it was measured under.

    Attributes:
        testbed: the testbed's folder name.
        config: the configuration's name and hash, `<name>-<hash>`.
        method: the method's name.
        subject: what was measured, such as a model, a group of models or a data set.
        quantity: what the number is, such as `auc` or `tpr_at_5_percent_fpr`.
        value: the number itself, always finite.
        n: the number of observations behind `value`, or None when that does not apply.
        spread: half the width of the 95 % interval of `value`, or None when none was estimated.
        seed: the seed of the run.
        commit: the commit of the code that measured it.

    Raises:
        ValueError: when `value` or `spread` is not finite.
    """

    testbed: str
    config: str
    method: str
    subject: str
    quantity: str
    value: float
    n: int | None
    spread: float | None
    seed: int
    commit: str

    def __post_init__(self) -> None:
        for name in ("value", "spread"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ValueError(
                    f"`{name}` must be finite, got {number} in the record {self._label()}; "
                    "leave out what could not be measured."
                )

    def _label(self) -> str:
        return "/".join(str(getattr(self, name)) for name in _IDENTITY)


class Measurement(NamedTuple):
    """One number about one subject: a record without the conditions it was measured under.

    Attributes:
        subject: what was measured: a model, a checkpoint, an attack, a difference of two.
        quantity: what the number is.
        value: the number.
        n: how many observations it is based on.
        spread: half the width of its 95 % interval, or None.
    """

    subject: str
    quantity: str
    value: float
    n: int
    spread: float | None = None


_COLUMNS = [field.name for field in fields(Record)]
_IDENTITY = ["testbed", "config", "method", "subject", "quantity", "seed", "commit"]
_DTYPES = dict.fromkeys(_COLUMNS, "str") | {
    "value": "float64",
    "n": "Int64",
    "spread": "float64",
    "seed": "int64",
}


def write_records(path: str | os.PathLike[str], records: Iterable[Record]) -> None:
    """Writes `records` to `path` as long-form CSV, sorted, so that equal records give equal bytes.

    Floats are written with the fewest digits that read back to the same float64; None is an empty
    cell. The file is written whole or not at all, and then its digest, as ``<name>.sha256``.

    Raises:
        ValueError: when two records agree in everything but `value`, `n` and `spread`.
    """
    frame = _frame(records).sort_values(_IDENTITY, ignore_index=True)
    if (repeated := frame.duplicated(_IDENTITY)).any():
        label = "/".join(str(cell) for cell in frame.loc[repeated, _IDENTITY].iloc[0])
        raise ValueError(f"Records must differ in {', '.join(_IDENTITY)}; {label} appears twice.")
    write_sealed_csv(path, frame)


def read_records(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Returns the records at `path`, one row each, with the fields of `Record` as columns.

    `n` is a nullable integer, a missing `spread` is NaN, and every float is the one written.

    Raises:
        modelgif.experiment.sealed_csv.SealError: when the file has a digest beside it that is not
            its own.
        ValueError: when columns are missing, unknown or repeated, or a cell does not fit its
            column; the message names the file and the columns or the line.
    """
    try:
        text = sealed_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}.") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header, *lines = [(rows.line_num, cells) for cells in rows] or [(1, [])]
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}") from error
    _check_header(path, header[1])
    records = [_parse(path, number, header[1], cells) for number, cells in lines]
    return _frame(records)


def machine() -> dict[str, Any]:
    """Returns what the speed of a run depends on: processor, cores, threads, CUDA device."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _frame(records: Iterable[Record]) -> pd.DataFrame:
    rows = [[getattr(record, name) for name in _COLUMNS] for record in records]
    return pd.DataFrame(rows, columns=pd.Index(_COLUMNS)).astype(_DTYPES)


def _parse(
    path: str | os.PathLike[str], line: int, header: Sequence[str], cells: Sequence[str]
) -> Record:
    try:
        if len(cells) != len(header):
            raise ValueError(f"expected {len(header)} cells, got {len(cells)}.")
        row = dict(zip(header, cells, strict=True))
        return Record(
            testbed=row["testbed"],
            config=row["config"],
            method=row["method"],
            subject=row["subject"],
            quantity=row["quantity"],
            value=float(row["value"]),
            n=int(row["n"]) if row["n"] else None,
            spread=float(row["spread"]) if row["spread"] else None,
            seed=int(row["seed"]),
            commit=row["commit"],
        )
    except ValueError as error:
        raise ValueError(f"{path}, line {line}: {error}") from error


def _check_header(path: str | os.PathLike[str], header: list[str]) -> None:
    if sorted(header) == sorted(_COLUMNS):
        return
    faults = [f"`{name}` is missing" for name in _COLUMNS if name not in header]
    for name in header:
        if name not in _COLUMNS:
            near = get_close_matches(name, _COLUMNS, n=1)
            faults.append(f"`{name}` is unknown" + (f" (near `{near[0]}`)" if near else ""))
    faults += [f"`{name}` is repeated" for name in _COLUMNS if header.count(name) > 1]
    raise ValueError(f"{path} must have the columns {', '.join(_COLUMNS)}: {'; '.join(faults)}.")
