"""What a streaming comparison has summed so far, as a file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelgif.distances.pairs import PairSums
from modelgif.storage.tensor_file import SealedFileError, read_sealed, write_sealed

_KIND = "checkpoint of a streaming comparison"


class StreamCheckpointError(ValueError):
    """A checkpoint that is damaged, or of another comparison."""


class StreamCheckpoint:
    """The file of a comparison's sums, replaced as a whole after each block.

    Args:
        path: of the file.
        settings: all that the sums depend on, as plain JSON.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path, self._settings = Path(path), dict(settings)

    def restore(self, sums: PairSums, kept: dict[str, list[Tensor]]) -> None:
        """Puts what the file holds into `sums` and `kept`, if there is a file.

        Raises:
            StreamCheckpointError: for a damaged file, or other settings, naming the first that
                differs.
        """
        if not self.path.exists():
            return
        try:
            header, tensors = read_sealed(self.path, _KIND)
        except SealedFileError as error:
            raise StreamCheckpointError(f"{error} Move it away to begin anew.") from error
        differs = _difference(header["settings"], self._settings)
        if differs is not None:
            raise StreamCheckpointError(
                f"{self.path} is of another comparison: {differs}. Ask for the same, or name "
                "another file."
            )
        sums.total, sums.zeros = tensors["total"], tensors["zeros"]
        sums.n_references = header["n_references"]
        for name, parts in kept.items():
            if name in tensors:
                parts.append(tensors[name])

    def write(self, sums: PairSums, kept: Mapping[str, list[Tensor]]) -> None:
        """Replaces the file."""
        tensors = {"total": sums.total, "zeros": sums.zeros}
        tensors |= {name: torch.cat(parts, -1) for name, parts in kept.items() if parts}
        header = {"settings": self._settings, "n_references": sums.n_references}
        write_sealed(self.path, _KIND, header, tensors)


def _difference(there: Any, here: Any, name: str = "") -> str | None:
    """The first setting that differs, in words."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            inner = f"{name} {key}".strip()
            if (key in here) != (key in there):
                return f"{inner} is only {'asked for' if key in here else 'in the file'}"
            differs = _difference(there[key], here[key], inner)
            if differs is not None:
                return differs
        return None
    return None if there == here else f"{name} is {there!r} there and {here!r} here"
