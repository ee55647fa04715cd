"""Labelled images that several processes work on."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import safetensors.torch

from modelgif.data.image_data import ImageData

_TENSORS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class SharedImages:
    """Images in a file, which costs little to send to another process.

    Attributes:
        path: of the file.
        name: of the data set.
        classes: their names.
    """

    path: Path
    name: str
    classes: tuple[str, ...]


@contextmanager
def share_images(data: ImageData, workers: int) -> Iterator[ImageData | SharedImages]:
    """Gives what to send to `workers` processes, for `read_shared`; files go when the block ends.

    For one, that is `data`. Several map a temporary file into memory, once for all of them.
    """
    if workers == 1:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="modelgif-") as folder:
        path = Path(folder, "images.safetensors")
        tensors = {name: getattr(data, name).contiguous() for name in _TENSORS}
        safetensors.torch.save_file(tensors, path)
        yield SharedImages(path, data.name, data.classes)


def read_shared(source: ImageData | SharedImages) -> ImageData:
    """Returns the images, read once per process."""
    return source if isinstance(source, ImageData) else _read(source)


@lru_cache(maxsize=1)
def _read(shared: SharedImages) -> ImageData:
    tensors = safetensors.torch.load_file(shared.path)
    return ImageData(shared.name, classes=shared.classes, **tensors)
