"""Image files in one folder per class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2.functional as transforms
from PIL import Image
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import pil_loader

_FEWEST = 5
# As float32, 600 MB while an image is resized; no camera's picture has as many.
_MOST_PIXELS = 50_000_000


def read_image_folder(
    root: Path, size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[str, ...]]:
    """Returns training images and labels, test images and labels, and the classes' names.

    With ``root/train`` and ``root/test`` these are the splits, each with one folder per class.
    Otherwise ``root`` has one folder per class, of which 20 % are the test images, drawn with equal
    shares of the classes and always the same ones while the files keep their names. Classes are in
    alphabetical order. Of each image, read as RGB, the shorter side is resized to `size` and the
    centre square is kept.

    Args:
        root: the folder.
        size: pixels per side.

    Returns:
        ``[N, 3, size, size]`` float32 in [0, 1], ``[N]`` int64, the same for the test, the names.

    Raises:
        FileNotFoundError: when a folder or the images of a class are missing.
        ValueError: for a file that is not a valid image, for splits with other classes, and for a
            class with fewer than 5 images to split.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} must be a folder with one folder of images per class.")
    parts = [root / "train", root / "test"]
    there = [part.is_dir() for part in parts]
    if any(there) and not all(there):
        raise FileNotFoundError(
            f"{root} has only one of the folders train and test: add the other, or name it "
            "differently if it is a class."
        )
    if all(there):
        train, test = map(ImageFolder, parts)
        if train.classes != test.classes:
            raise ValueError(
                f"{root} must have the same classes in train and test; only in one are "
                f"{', '.join(sorted(set(train.classes) ^ set(test.classes)))}."
            )
        return *_read(train.samples, size), *_read(test.samples, size), tuple(train.classes)
    folder = ImageFolder(root)
    counts = np.bincount(folder.targets)
    if counts.min() < _FEWEST:
        raise ValueError(
            f"{root}/{folder.classes[int(counts.argmin())]} must have at least {_FEWEST} images to "
            f"split, got {counts.min()}; or make the folders train and test yourself."
        )
    train_rows, test_rows = train_test_split(
        np.arange(len(folder)), test_size=0.2, stratify=folder.targets, random_state=0
    )
    train_samples = [folder.samples[row] for row in sorted(train_rows)]
    test_samples = [folder.samples[row] for row in sorted(test_rows)]
    return *_read(train_samples, size), *_read(test_samples, size), tuple(folder.classes)


def _read(samples: Sequence[tuple[str, int]], size: int) -> tuple[Tensor, Tensor]:
    images = torch.stack([read_image(path, size) for path, _ in samples])
    return images, torch.tensor([label for _, label in samples])


def read_image(path: str | Path, size: int) -> Tensor:
    """Returns the central square of an image file's RGB pixels, ``[3, size, size]`` in [0, 1].

    Raises:
        ValueError: when it is not a valid image.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "white.png"
        >>> Image.new("RGB", (12, 8), "white").save(path)
        >>> image = read_image(path, 4)
        >>> image.shape, image.min().item()
        (torch.Size([3, 4, 4]), 1.0)
    """
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise ValueError(f"{opened.width}×{opened.height} pixels are too many")
        image = pil_loader(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a valid image: {error}; repair or remove it.") from error
    pixels = transforms.to_dtype(transforms.pil_to_tensor(image), torch.float32, scale=True)
    square = transforms.center_crop(transforms.resize(pixels, [size]), [size, size])
    return square.clamp(0, 1)
