"""Every writer of the project, called in a process that may not write much."""

import gc
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from modelgif.experiment.training import write_snapshot
from modelgif.loading.checkpoint import write_checkpoint
from modelgif.references.file import write_references
from modelgif.references.references import References
from modelgif.reporting.figure import heat_map, save_figure
from modelgif.reporting.report import Report, Section, write_report
from modelgif.reporting.table import write_csv, write_workbook
from modelgif.sketches.index import SketchIndex
from modelgif.sketches.sketch import Sketch
from modelgif.storage.atomic import write_text
from modelgif.storage.field_store import FieldStore
from modelgif.storage.tensor_file import write_sealed
from tests.support.hostile_stores import HEADER

NETWORK = {"architecture": "torchvision:resnet18"}


def write_here(folder: Path, name: str, size: int, limit: int, answer: Connection) -> None:
    """Writes rather more than `size` bytes, and answers with the error and with what is there.

    Args:
        folder: where.
        name: of the writer.
        size: in bytes.
        limit: on the size of any file, or 0.
        answer: takes ``error``, the names of its classes and its message, and ``there``, the size
            of each file.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        WRITERS[name](folder, size)
        error = None
    except Exception as problem:
        error = [cls.__name__ for cls in type(problem).__mro__], str(problem)
    # What HDF5 has not closed, it tries to close now.
    gc.collect()
    there = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*")}
    answer.send({"error": error, "there": there})


def _store(folder: Path, size: int, pixels: int = 50, blocks: int = 2) -> None:
    count = max(1, size // (12 * pixels))
    ids = [f"r{i}" for i in range(2 * count)]
    with FieldStore.create(folder / "x.h5", HEADER, ids, (pixels,)) as writer:
        for _ in range(blocks):
            writer.append(torch.ones(count, 3, pixels))


def _index(folder: Path, size: int) -> None:
    sketch = Sketch(
        field=HEADER, values=torch.zeros(size), size=size, seed=0, number_format="float32"
    )
    SketchIndex(folder / "index", verify=False).add({"a": sketch})


def _frame(size: int) -> pd.DataFrame:
    return pd.DataFrame({name: torch.rand(size // 8).numpy() for name in "ab"})


def _figure(folder: Path, size: int) -> None:
    names = [f"model {i} {size}" for i in range(40)]
    save_figure(heat_map(np.random.default_rng(0).random((40, 40)), names), folder / "x.png")


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "store": _store,
    # More than HDF5 keeps in memory before it writes.
    "half a store": lambda folder, size: _store(folder, size + 2**25, pixels=2**18, blocks=1),
    "checkpoint": lambda folder, size: write_checkpoint(
        folder / "x.safetensors", nn.Linear(size, 1), NETWORK
    ),
    "card": lambda folder, size: write_checkpoint(
        folder / "x.safetensors", nn.Linear(2, 2), NETWORK | {"note": "x" * size}
    ),
    "snapshot": lambda folder, size: write_snapshot(folder / "x.pt", {"a": torch.zeros(size)}),
    "references": lambda folder, size: write_references(
        folder / "x.safetensors", References(torch.zeros(1, 1, 1, size), ("a",))
    ),
    "sealed": lambda folder, size: write_sealed(
        folder / "x.sketch", "sketch", {}, {"a": torch.zeros(size)}
    ),
    "text": lambda folder, size: write_text(folder / "x.txt", "x" * size),
    "csv": lambda folder, size: write_csv(folder / "x.csv", _frame(size)),
    "workbook": lambda folder, size: write_workbook(folder / "x.xlsx", {"a": _frame(size)}),
    "figure": _figure,
    "report": lambda folder, size: write_report(
        folder / "x.html", Report("?", "x" * size, [Section("s")], {"a": 1}, "again")
    ),
    "index": _index,
}
