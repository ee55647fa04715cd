"""What all benchmarks share: interleaved timing, conditions, and one table on paper and on disk."""

import csv
import ctypes
import datetime
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from modelgif.experiment.run import commit
from modelgif.storage.atomic import whole_file

Row = dict[str, str | int]


def clock_of(device: str) -> tuple[Callable[[], float], str]:
    """Returns the clock to take, and its name.

    Work of one thread on the CPU is timed by the processor's own count of this process, which other
    work on the machine hardly changes; all else by the wall clock.
    """
    alone = torch.device(device).type == "cpu" and torch.get_num_threads() == 1
    return (time.process_time, "processor") if alone else (time.perf_counter, "wall")


def median_seconds(
    ways: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Returns the median seconds of each way; ways are warmed up and then run in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            synchronise(device)
            start = clock()
            way()
            synchronise(device)
            if turn > 0:
                seconds[name].append(clock() - start)
    return {name: statistics.median(measured) for name, measured in seconds.items()}


def peak_bytes(way: Callable[[], object], device: str = "cpu") -> int:
    """Returns how much memory `way` takes at most beyond what is taken before.

    On the CPU this is of the process, from Linux's own count, which is told to begin anew.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        way()
        return torch.cuda.max_memory_allocated(device) - before
    # What was freed before and is still held would be taken again unseen.
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    way()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def synchronise(device: str) -> None:
    """Waits until the device has done all it was asked for."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def conditions(device: str = "cpu") -> Row:
    """Returns what the numbers depend on."""
    cpu = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in s]
    cuda = torch.device(device).type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "cpu": cpu[0].split(":")[1].strip() if cpu else platform.processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
        # Other work on the machine: more than the free cores means that all sides were slowed.
        "load": f"{os.getloadavg()[0]:.1f} of {os.cpu_count()}",
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }


class Table:
    """Prints rows as they come, and writes all of them after each."""

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._path, self._device = path, device
        self._rows: list[Row] = []
        self._widths: list[int] = []

    def add(self, row: Row) -> None:
        """Prints and writes one more row; every row has the same columns."""
        if not self._rows:
            self._widths = [max(len(k), len(str(v)), 14) + 3 for k, v in row.items()]
            self._print(list(row))
        self._print([str(value) for value in row.values()])
        self._rows.append(row | conditions(self._device))
        with whole_file(self._path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._rows[0])
            writer.writeheader()
            writer.writerows(self._rows)

    def _print(self, cells: list[str]) -> None:
        print("".join(c.ljust(w) for c, w in zip(cells, self._widths, strict=True)), flush=True)


def results(name: str) -> Path:
    """Returns where the results of a benchmark go unless told otherwise."""
    return Path(__file__).parent / "results" / f"{name}.csv"
