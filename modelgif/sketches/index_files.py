"""The files of an index of sketches.

An index is a folder: ``values.bin`` and ``names.txt`` only grow, and ``index.json`` says how much
of them counts, with its digests. What a killed writer has left behind is not counted, and the next
writer overwrites it: sketches are added whole or not at all.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelgif.sketches.file import values_layout
from modelgif.sketches.sketch import Sketch, difference
from modelgif.storage.atomic import full_disk_named, write_text
from modelgif.storage.regular_file import missing_file

_SCHEMA_VERSION = 1
# Of index.json, which has some 300 bytes for each time that sketches were added.
_LARGEST_JSON = 2**25
_VALUES, _NAMES, _JSON = "values.bin", "names.txt", "index.json"


class IndexFileError(ValueError):
    """An index that is damaged, or sketches that do not belong in it."""


class IndexFiles:
    """Sketches by name in a folder.

    Args:
        folder: of an index, or where one is to be made.

    Raises:
        IndexFileError: when the index is damaged, as far as its sizes tell; see `verify`.

    Attributes:
        folder: as given.
        comparable: what all sketches share, see `Sketch.comparable`; empty without sketches.
        names: of the models, in the order of adding.
        zero_cells: how many cells of each model's field are zero.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._load()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def row_bytes(self) -> int:
        """How many bytes the values of a sketch take."""
        count, dtype = self._layout
        return count * dtype.itemsize

    def add(self, sketches: Mapping[str, Sketch]) -> None:
        """Adds sketches by name, all of them or, when anything fails, none.

        Raises:
            IndexFileError: for a name that is there already, or a sketch that cannot be compared
                with those that are there, naming what differs.
        """
        with self._locked():
            # Another process may have added some since.
            self._load()
            first = next(iter(sketches.values()))
            comparable = self.comparable or first.comparable()
            known = set(self.names)
            for name, sketch in sketches.items():
                if name in known:
                    raise IndexFileError(f"{self.folder} has a model named {name!r} already.")
                differs = difference(comparable, sketch.comparable())
                if differs is not None:
                    raise IndexFileError(
                        f"the sketch of {name} does not belong in {self.folder}: {differs}. Make "
                        "it with the references and settings of the others."
                    )
            values = b"".join(
                sketch.values.contiguous().numpy().tobytes() for sketch in sketches.values()
            )
            names = "".join(
                json.dumps([name, sketch.zero_cells] if sketch.zero_cells else name) + "\n"
                for name, sketch in sketches.items()
            ).encode()
            self._append(_VALUES, sum(s["values_bytes"] for s in self._segments), values)
            self._append(_NAMES, sum(s["names_bytes"] for s in self._segments), names)
            segment = {
                "count": len(sketches),
                "values_bytes": len(values),
                "values_sha256": hashlib.sha256(values).hexdigest(),
                "names_bytes": len(names),
                "names_sha256": hashlib.sha256(names).hexdigest(),
            }
            contents = {
                "schema_version": _SCHEMA_VERSION,
                "comparable": comparable,
                "segments": [*self._segments, segment],
            }
            contents["sha256"] = _digest(contents)
            write_text(self.folder / _JSON, json.dumps(contents, indent=1) + "\n")
            self._load()

    def values(self, rows: slice | list[int]) -> Tensor:
        """Returns the values of some sketches, ``[n, …]``, read from the file."""
        count, dtype = self._layout
        file = np.memmap(
            self.folder / _VALUES,
            dtype=str(dtype).removeprefix("torch."),
            mode="r",
            shape=(len(self), count),
        )
        return torch.from_numpy(np.array(file[rows]))

    def verify(self) -> None:
        """Reads everything once and compares it with its digests.

        Raises:
            IndexFileError: when a digest does not match.
        """
        for part, name in (("values", _VALUES), ("names", _NAMES)):
            path = self.folder / name
            if not self._segments:
                return
            with path.open("rb") as file:
                for segment in self._segments:
                    digest = hashlib.sha256()
                    left = segment[f"{part}_bytes"]
                    while left:
                        piece = file.read(min(left, 2**24))
                        if not piece:
                            raise IndexFileError(f"{path} is shorter than {self.folder} says.")
                        digest.update(piece)
                        left -= len(piece)
                    if digest.hexdigest() != segment[f"{part}_sha256"]:
                        raise IndexFileError(
                            f"{path} is damaged: a part does not have its digest; make the index "
                            "again from the sketches."
                        )

    @property
    def _layout(self) -> tuple[int, torch.dtype]:
        return values_layout(self.comparable["size"], self.comparable["precision"])

    def _load(self) -> None:
        self.comparable: dict[str, Any] = {}
        self._segments: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.zero_cells: list[int] = []
        path = self.folder / _JSON
        if not os.path.lexists(path):
            return
        try:
            _check_files(self.folder)
            contents = json.loads(path.read_text(encoding="utf-8"))
            if contents["schema_version"] != _SCHEMA_VERSION:
                raise ValueError(f"schema version {contents['schema_version']}")
            if contents.pop("sha256") != _digest(contents):
                raise ValueError(f"{_JSON} does not have the digest it states")
            self.comparable, self._segments = contents["comparable"], contents["segments"]
            length = sum(segment["names_bytes"] for segment in self._segments)
            if not 0 <= length <= (self.folder / _NAMES).stat().st_size:
                raise ValueError(f"names of {length} bytes")
            with (self.folder / _NAMES).open("rb") as file:
                lines = file.read(length).decode().splitlines()
            for entry in map(json.loads, lines):
                name, zeros = entry if isinstance(entry, list) else (entry, 0)
                self.names.append(name)
                self.zero_cells.append(zeros)
            count = sum(segment["count"] for segment in self._segments)
            stated = sum(segment["values_bytes"] for segment in self._segments)
            there = (self.folder / _VALUES).stat().st_size
            if len(self.names) != count or stated != count * self.row_bytes or there < stated:
                raise ValueError(f"{count} sketches, {len(self.names)} names, {there} bytes")
        except (
            *(OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError),
            *(MemoryError, OverflowError),
        ) as error:
            raise IndexFileError(
                f"{self.folder} is not a sound index ({type(error).__name__}: {str(error)[:300]}); "
                "make it again from the sketches."
            ) from error

    def _append(self, name: str, at: int, content: bytes) -> None:
        """Writes after what counts, and to the disk."""
        path = self.folder / name
        with full_disk_named(path), path.open("r+b" if path.exists() else "xb") as file:
            file.truncate(at)
            file.seek(at)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other writers out; the lock ends with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _check_files(folder: Path) -> None:
    for name in (_JSON, _NAMES, _VALUES):
        if (note := missing_file(folder / name)) is not None:
            raise ValueError(f"there is no {name}{note}")
    if (folder / _JSON).stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{_JSON} has more than {_LARGEST_JSON:,} bytes")


def _digest(contents: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
