"""Search among many sketches: which models are nearest to this one?"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from modelgif.distances.pairs import warn_of_zero_cells
from modelgif.sketches.index_files import IndexFileError, IndexFiles
from modelgif.sketches.sketch import Sketch, difference, estimated_distances

__all__ = ["IndexFileError", "Matches", "SketchIndex"]

# Bytes of sketches that are read at once.
_BLOCK_BYTES = 2**26


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

    `modelgif.sketches.approximate` searches faster, and `modelgif.sketches.index_files` says how
    the folder is kept.

    Args:
        folder: of an index, or where one is to be made.
        verify: whether to read everything once and compare it with its digests.

    Raises:
        IndexFileError: when the index is damaged.

    Example:
        >>> import tempfile
        >>> from modelgif.sketches.sketcher import sketch_model
        >>> references = torch.linspace(0, 1, 12).reshape(2, 6)
        >>> index = SketchIndex(tempfile.mkdtemp())
        >>> models = {"flat": torch.nn.Flatten(), "softmax": torch.nn.Softmax(1)}
        >>> index.add({name: sketch_model(m, references) for name, m in models.items()})
        >>> index.search(sketch_model(torch.nn.Flatten(), references), k=1).names
        ['flat']
    """

    def __init__(self, folder: str | os.PathLike[str], *, verify: bool = True) -> None:
        self._files = IndexFiles(folder)
        if verify:
            self.verify()

    def __len__(self) -> int:
        return len(self._files)

    @property
    def folder(self) -> Path:
        """Where the index is."""
        return self._files.folder

    @property
    def names(self) -> list[str]:
        """The models, in the order of adding."""
        return self._files.names

    @property
    def zero_cells(self) -> list[int]:
        """How many cells of each model's field are zero."""
        return self._files.zero_cells

    @property
    def size(self) -> int:
        """Numbers, or signs, of each sketch."""
        return self._files.comparable["size"]

    def add(self, sketches: Mapping[str, Sketch]) -> None:
        """Adds sketches by name, all of them or, when anything fails, none.

        Many at a time take less room and time than one by one.

        Raises:
            IndexFileError: for a name that is there already, or a sketch that cannot be compared
                with those that are there, naming what differs.
        """
        if sketches:
            self._files.add(sketches)

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
        rows = max(1, _BLOCK_BYTES // self._files.row_bytes)
        for first in range(0, len(self), rows):
            yield first, self.values(slice(first, first + rows))

    def values(self, rows: slice | list[int]) -> Tensor:
        """Returns the values of some sketches, ``[n, …]``, read from the file."""
        return self._files.values(rows)

    def verify(self) -> None:
        """Reads everything once and compares it with its digests.

        Raises:
            IndexFileError: when a digest does not match.
        """
        self._files.verify()

    def check(self, sketch: Sketch, k: int) -> None:
        """Checks that `sketch` and `k` can be searched for.

        Raises:
            IndexFileError: for a sketch that cannot be compared with those in the index.
            ValueError: for a `k` below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}.")
        if not self.names:
            raise IndexFileError(f"{self.folder} has no sketches yet; add some.")
        differs = difference(self._files.comparable, sketch.comparable())
        if differs is not None:
            raise IndexFileError(
                f"the sketch of {sketch.field.model} cannot be compared with those in "
                f"{self.folder}: {differs}."
            )
