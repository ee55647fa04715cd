"""Labelled images for the command line: a folder with a folder a class, or a data set's name."""

from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision.datasets import ImageFolder

from modelgif.cli.references import known_name, with_channels
from modelgif.data.data import load_data
from modelgif.data.image_folder import read_image


def find_labelled(
    source: str, *, count: int, size: int | None, channels: int | None, seed: int
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Returns images ``[N, C, H, W]``, labels ``[N]`` and class names, for training only.

    Of a folder with the folders ``train`` and ``test``, the first is read. With more than `count`
    images, that many are drawn, with equal shares of the classes.

    Args:
        source: a folder with one folder of images per class, or digits, photos, fashion_mnist.
        count: how many images at most.
        size: pixels per side; a folder needs it.
        channels: 1 (grey) or 3; None keeps the images' own.
        seed: of the draw.

    Raises:
        FileNotFoundError: when nothing is at `source`, or a class has no image.
        ValueError: for arguments that do not fit.
    """
    if not Path(source).is_dir():
        data = load_data(known_name(source), size=size)
        rows = _drawn(data.train_labels.tolist(), count, seed)
        images, labels = data.train_images[rows], data.train_labels[rows]
        return with_channels(images, channels), labels, data.classes
    if size is None:
        raise ValueError(f"images of {source} may differ in size: give --size, pixels per side.")
    training = Path(source, "train")
    folder = ImageFolder(training if training.is_dir() else source)
    # Rows are drawn first, so that only the images drawn are read.
    samples = [folder.samples[row] for row in _drawn(folder.targets, count, seed)]
    images = torch.stack([read_image(path, size) for path, _ in samples])
    labels = torch.tensor([label for _, label in samples])
    return with_channels(images, channels), labels, tuple(folder.classes)


def _drawn(labels: list[int], count: int, seed: int) -> list[int]:
    rows = np.arange(len(labels))
    if len(rows) <= count:
        return rows.tolist()
    try:
        kept, _ = train_test_split(rows, train_size=count, stratify=labels, random_state=seed)
    except ValueError as error:
        raise ValueError(f"{count} images cannot stand for every class: {error}") from error
    return sorted(int(row) for row in kept)
