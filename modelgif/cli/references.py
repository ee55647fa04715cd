"""References for the command line: a folder of images, a data set's name, or a saved file."""

from pathlib import Path

import torch
from torch import Tensor

from modelgif.data.image_data import DataName
from modelgif.loading.address import did_you_mean
from modelgif.references.file import read_references
from modelgif.references.references import References, random_references

# Data sets that need no folder.
_NAMES: dict[str, DataName] = {
    "digits": "digits",
    "photos": "photos",
    "fashion_mnist": "fashion_mnist",
}


def find_references(
    source: str, *, count: int, size: int | None, channels: int | None, seed: int
) -> References:
    """Returns at most `count` references from `source`.

    - a ``.safetensors`` file of references: its first `count`, exactly as they were saved
    - a folder: images in it and its subfolders, sampled at random; `size` is required
    - ``digits``, ``photos``, ``fashion_mnist``: test images of the data set, sampled at random

    Args:
        source: one of these.
        count: number of references, at most.
        size: pixels per side.
        channels: 1 (grey) or 3; None keeps the images' own.
        seed: for sampling the references.

    Raises:
        FileNotFoundError: when nothing is at `source`.
        ValueError: for a folder without images, or arguments that do not match the source.
    """
    path = Path(source)
    if path.suffix == ".safetensors":
        saved = read_references(path)
        if size is not None or channels is not None:
            raise ValueError(
                f"{source} fixes the size and channels of its images: leave out --size and "
                "--channels."
            )
        return References(saved.images[:count], saved.ids[:count])
    generator = torch.Generator().manual_seed(seed)
    if path.is_dir():
        return _from_folder(path, count, size, channels, generator)
    name = known_name(source)
    from modelgif.data.data import load_data

    data = load_data(name, size=size)
    ids = [f"{name}/test/{row}" for row in range(len(data.test_images))]
    images = with_channels(data.test_images, channels)
    return random_references(images, ids, min(count, len(images)), generator=generator)


def known_name(source: str) -> DataName:
    """Returns the data set called `source`.

    Raises:
        FileNotFoundError: if it is not a known name, and so was meant to be a file or a folder.
    """
    if source not in _NAMES:
        raise FileNotFoundError(
            f"{source}: there is no such folder or file of images, and it is not one of the data "
            f"sets {', '.join(_NAMES)}.{did_you_mean(source, _NAMES)}"
        )
    return _NAMES[source]


def with_channels(images: Tensor, channels: int | None) -> Tensor:
    """Returns images ``[N, C, H, W]`` with 1 channel, the mean of theirs, or 3."""
    if channels is None or images.shape[1] == channels:
        return images
    grey = images.mean(1, keepdim=True)
    return grey if channels == 1 else grey.expand(-1, channels, -1, -1).contiguous()


def _from_folder(
    folder: Path, count: int, size: int | None, channels: int | None, generator: torch.Generator
) -> References:
    if size is None:
        raise ValueError(f"images of {folder} may differ in size: give --size, in pixels per side.")
    from torchvision.datasets.folder import IMG_EXTENSIONS

    from modelgif.data.image_folder import read_image

    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMG_EXTENSIONS)
    if not files:
        raise ValueError(f"{folder} contains no image ({', '.join(IMG_EXTENSIONS)}).")
    # Names are sampled first, so that only the sampled images are read.
    chosen = torch.randperm(len(files), generator=generator)[:count].tolist()
    images = torch.stack([read_image(files[row], size) for row in chosen])
    ids = tuple(files[row].relative_to(folder).as_posix() for row in chosen)
    return References(with_channels(images, channels), ids)
