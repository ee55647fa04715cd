"""Search among many sketches: which models are nearest to this one?

An index is a folder: ``values.bin`` and ``names.txt`` only grow, and ``index.json`` says how much
of them counts, with its digests. What a killed writer has left behind that is not counted, and the
next writer overwrites it: sketches are added whole or not at all.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from modelgif.distances.pairs import warn_of_zero_cells
from modelgif.sketches.file import values_layout
from modelgif.sketches.sketch import Sketch, difference, estimated_distances
from modelgif.storage.atomic import full_disk_named, write_text

_SCHEMA_VERSION = 1
# Bytes of sketches that are read at once.
_BLOCK_BYTES = 2**26
# Of index.json, which has some 300 bytes for each time that sketches were added.
_LARGEST_JSON = 2**25


class IndexFileError(ValueError):
    """An index that is damaged, or sketches that do not belong in it."""


class Matches(NamedTuple):
    """The nearest models, nearest first.

    Attributes:
        names: of the K models.
        distances: estimated, float64 ``[K]``.
    """

    names: list[str]
    distances: Tensor


class SketchIndex:
    """Sketches by name in a folder, searched one by one.

    `modelgif.sketches.approximate` searches faster.

    Args:
        folder: of an index, or where one is to be made.
        verify: whether to read everything once and compare it with its digests.

    Raises:
        IndexFileError: when the index is damaged.

    Attributes:
        names: of the models, in the order of adding.
        zero_cells: how many cells of each one's field are zero.
    """

    def __init__(self, folder: str | os.PathLike[str], *, verify: bool = True) -> None:
        self.folder = Path(folder)
        self._load()
        if verify:
            self.verify()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Numbers, or signs, of each sketch."""
        return self._comparable["size"]

    def add(self, sketches: Mapping[str, Sketch]) -> None:
        """Adds sketches by name, all of them or, when anything fails, none.

        Many at a time take less room and time than one by one.

        Raises:
            IndexFileError: for a name that is there already, or a sketch that cannot be compared
                with those that are there, naming what differs.
        """
        if not sketches:
            return
        with self._alone():
            # Another process may have added some since.
            self._load()
            first = next(iter(sketches.values()))
            comparable = self._comparable or first.comparable()
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
            values = b"".join(_bytes(sketch.values) for sketch in sketches.values())
            names = "".join(
                json.dumps([name, sketch.zero_cells] if sketch.zero_cells else name) + "\n"
                for name, sketch in sketches.items()
            ).encode()
            self._append("values.bin", sum(s["values_bytes"] for s in self._segments), values)
            self._append("names.txt", sum(s["names_bytes"] for s in self._segments), names)
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
            write_text(self.folder / "index.json", json.dumps(contents, indent=1) + "\n")
            self._load()

    def search(self, sketch: Sketch, k: int = 10) -> Matches:
        """Returns the `k` models nearest to a sketch, or all of them if there are fewer.

        Every sketch is compared; of equally near ones, the first added is named first.

        Raises:
            IndexFileError: for a sketch that cannot be compared with those in the index.
            ValueError: for a `k` below 1.

        Warns:
            modelgif.distances.pairs.ZeroCellWarning: when a field has zero cells.
        """
        self.check(sketch, k)
        distances = torch.cat(
            [
                estimated_distances(sketch.values[None], block, self.size)[0].double()
                for _, block in self.blocks()
            ]
        )
        # As a sort of all would be slow.
        farthest = distances.kthvalue(min(k, len(distances))).values
        (rows,) = (distances > farthest).logical_not().nonzero(as_tuple=True)
        nearest, order = distances[rows].sort(stable=True)
        return self.matches(sketch, rows[order][:k].tolist(), nearest[:k])

    def matches(self, sketch: Sketch, rows: list[int], distances: Tensor) -> Matches:
        """Returns models by row, with their distances, and warns of zero cells."""
        names = [self.names[row] for row in rows]
        zeros = [self.zero_cells[row] for row in rows]
        warn_of_zero_cells([sketch.zero_cells, *zeros], [sketch.field.model, *names])
        return Matches(names, distances)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Gives the values block by block, ``[n, …]``, each with the row of its first sketch."""
        rows = max(1, _BLOCK_BYTES // self._row_bytes)
        for first in range(0, len(self), rows):
            yield first, self.values(slice(first, first + rows))

    def values(self, rows: slice | list[int]) -> Tensor:
        """Returns the values of some sketches, ``[n, …]``, read from the file."""
        count, dtype = values_layout(self.size, self._comparable["precision"])
        numbers = str(dtype).removeprefix("torch.")
        file = np.memmap(
            self.folder / "values.bin", dtype=numbers, mode="r", shape=(len(self), count)
        )
        return torch.from_numpy(np.array(file[rows]))

    def verify(self) -> None:
        """Reads everything once.

        Raises:
            IndexFileError: when a digest fails.
        """
        for part in ("values", "names"):
            path = self._path(part)
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

    def check(self, sketch: Sketch, k: int) -> None:
        """Checks that `sketch` and `k` can be asked for.

        Raises:
            IndexFileError: for a sketch that cannot be compared with those in the index.
            ValueError: for a `k` below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        if not self._segments:
            raise IndexFileError(f"{self.folder} has no sketches yet; add some.")
        differs = difference(self._comparable, sketch.comparable())
        if differs is not None:
            raise IndexFileError(
                f"the sketch of {sketch.field.model} cannot be compared with those in "
                f"{self.folder}: {differs}."
            )

    @property
    def _row_bytes(self) -> int:
        count, dtype = values_layout(self.size, self._comparable["precision"])
        return count * dtype.itemsize

    def _path(self, part: str) -> Path:
        return self.folder / {"values": "values.bin", "names": "names.txt"}[part]

    def _load(self) -> None:
        self._comparable: dict[str, Any] = {}
        self._segments: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.zero_cells: list[int] = []
        path = self.folder / "index.json"
        if not os.path.lexists(path):
            return
        try:
            _check_files(self.folder)
            contents = json.loads(path.read_text(encoding="utf-8"))
            if contents["schema_version"] != _SCHEMA_VERSION:
                raise ValueError(f"schema version {contents['schema_version']}")
            if contents.pop("sha256") != _digest(contents):
                raise ValueError("index.json does not have the digest it states")
            self._comparable, self._segments = contents["comparable"], contents["segments"]
            length = sum(segment["names_bytes"] for segment in self._segments)
            if not 0 <= length <= (self.folder / "names.txt").stat().st_size:
                raise ValueError(f"names of {length} bytes")
            with (self.folder / "names.txt").open("rb") as file:
                lines = file.read(length).decode().splitlines()
            for entry in map(json.loads, lines):
                name, zeros = entry if isinstance(entry, list) else (entry, 0)
                self.names.append(name)
                self.zero_cells.append(zeros)
            count = sum(segment["count"] for segment in self._segments)
            stated = sum(segment["values_bytes"] for segment in self._segments)
            there = (self.folder / "values.bin").stat().st_size
            if len(self.names) != count or stated != count * self._row_bytes or there < stated:
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
    def _alone(self) -> Iterator[None]:
        """Keeps other writers out; the lock ends with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _check_files(folder: Path) -> None:
    for name in ("index.json", "names.txt", "values.bin"):
        if not (folder / name).is_file():
            raise ValueError(f"{name} is no ordinary file")
    if (folder / "index.json").stat().st_size > _LARGEST_JSON:
        raise ValueError(f"index.json has more than {_LARGEST_JSON:,} bytes")


def _digest(contents: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def _bytes(values: Tensor) -> bytes:
    return values.contiguous().numpy().tobytes()
