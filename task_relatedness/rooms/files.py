"""Files of rooms: what was seen, and the truth of each task; a fixed number of rooms a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modelgif.storage.tensor_file import SealedFileError, read_sealed, write_sealed
from task_relatedness.rooms.scenes.scene import Camera
from task_relatedness.rooms.view import View

ROOMS_A_FILE = 20
# To be raised when other rooms are drawn, or other truth is taken from them, so that files made
# before are made again.
_ROOMS_VERSION = 1
_TRUTH_VERSION = 3
_VIEWS, _TRUTH = "file of rooms", "file of truth"
_PIXELS = ("image", "albedo", "distance", "normal", "thing")


@dataclass(frozen=True)
class RoomSet:
    """Which rooms: everything their content depends on.

    Attributes:
        folder: where sets of rooms lie; each has a folder of its own in it.
        seed: of the set.
        size: pixels a side.
        samples: paths a pixel.
        per_file: rooms in one file.
    """

    folder: str
    seed: int
    size: int
    samples: int
    per_file: int = ROOMS_A_FILE

    def views_path(self, number: int) -> Path:
        """Returns where file `number` of what was seen lies."""
        return self._folder / f"views-{number:05d}.safetensors"

    def truth_path(self, number: int) -> Path:
        """Returns where file `number` of truth lies."""
        return self._folder / f"truth-{number:05d}.safetensors"

    def numbers(self, count: int) -> range:
        """Returns the numbers of the files that hold the first `count` rooms."""
        return range(-(-count // self.per_file))

    def rooms(self, number: int) -> range:
        """Returns which rooms file `number` holds."""
        return range(number * self.per_file, (number + 1) * self.per_file)

    @property
    def _folder(self) -> Path:
        name = f"{self.size}px-{self.samples}samples-seed{self.seed}"
        return Path(self.folder).expanduser() / name

    def _header(self, number: int) -> dict:
        return {
            "rooms_version": _ROOMS_VERSION,
            "seed": self.seed,
            "size": self.size,
            "samples": self.samples,
            "rooms": list(self.rooms(number)),
        }


def write_views(rooms: RoomSet, number: int, views: Sequence[View]) -> None:
    """Writes file `number` of what was seen, whole or not at all."""
    tensors = {name: _stacked([getattr(view, name) for view in views]) for name in _PIXELS}
    header = rooms._header(number) | {
        "labels": [list(view.labels) for view in views],
        "extents": [list(view.extents) for view in views],
        "cameras": [
            {
                "position": view.camera.position.tolist(),
                "rotation": view.camera.rotation.tolist(),
                "field_of_view": view.camera.field_of_view,
            }
            for view in views
        ],
    }
    write_sealed(rooms.views_path(number), _VIEWS, header, tensors)


def read_views(rooms: RoomSet, number: int) -> list[View]:
    """Returns what `write_views` wrote.

    Raises:
        modelgif.storage.tensor_file.SealedFileError: when the file is missing, damaged, or of other
            rooms.
    """
    path = rooms.views_path(number)
    header, tensors = read_sealed(path, _VIEWS)
    _check(path, header, rooms._header(number))
    arrays = {name: tensors[name].numpy() for name in _PIXELS}
    return [
        View(
            **{name: arrays[name][row] for name in _PIXELS},
            labels=tuple(labels),
            camera=Camera(
                np.array(camera["position"]), np.array(camera["rotation"]), camera["field_of_view"]
            ),
            extents=tuple(extents),
        )
        for row, (labels, camera, extents) in enumerate(
            zip(header["labels"], header["cameras"], header["extents"], strict=True)
        )
    ]


def write_truth(rooms: RoomSet, number: int, truths: Sequence[dict[str, np.ndarray]]) -> None:
    """Writes file `number` of truth, whole or not at all."""
    tensors = {name: _stacked([truth[name] for truth in truths]) for name in truths[0]}
    write_sealed(rooms.truth_path(number), _TRUTH, _truth_header(rooms, number), tensors)


def read_truth(rooms: RoomSet, number: int) -> dict[str, Tensor]:
    """Returns what `write_truth` wrote, by task.

    Raises:
        modelgif.storage.tensor_file.SealedFileError: when the file is missing, damaged, or of other
            rooms.
    """
    path = rooms.truth_path(number)
    header, tensors = read_sealed(path, _TRUTH)
    _check(path, header, _truth_header(rooms, number))
    return tensors


def _truth_header(rooms: RoomSet, number: int) -> dict:
    return rooms._header(number) | {"truth_version": _TRUTH_VERSION}


def _check(path: Path, header: dict, expected: dict) -> None:
    for name, value in expected.items():
        if header.get(name) != value:
            raise SealedFileError(
                f"{path}: expected {name} {value}, got {header.get(name)}; delete it to make it "
                "again."
            )


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
