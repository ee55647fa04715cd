"""Labelled images for the command line: a folder with one folder per class, or a data set."""

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

    If a folder contains ``train`` and ``test``, ``train`` is read. Of more than `count` images,
    `count` are sampled, with equal shares of the classes.

    Args:
        source: a folder with one folder of images per class, or digits, photos, fashion_mnist.
        count: number of images, at most.
        size: pixels per side; required for a folder.
        channels: 1 (grey) or 3; None keeps the images' own.
        seed: for sampling the images.

    Raises:
        FileNotFoundError: when nothing is at `source`, or a class has no image.
        ValueError: for arguments that do not match the images.
    """
    if not Path(source).is_dir():
        data = load_data(known_name(source), size=size)
        rows = _sampled(data.train_labels.tolist(), count, seed)
        images, labels = data.train_images[rows], data.train_labels[rows]
        return with_channels(images, channels), labels, data.classes
    if size is None:
        raise ValueError(f"images of {source} may differ in size: give --size, in pixels per side.")
    training = Path(source, "train")
    folder = ImageFolder(training if training.is_dir() else source)
    # Rows are sampled first, so that only the sampled images are read.
    samples = [folder.samples[row] for row in _sampled(folder.targets, count, seed)]
    images = torch.stack([read_image(path, size) for path, _ in samples])
    labels = torch.tensor([label for _, label in samples])
    return with_channels(images, channels), labels, tuple(folder.classes)


def _sampled(labels: list[int], count: int, seed: int) -> list[int]:
    rows = np.arange(len(labels))
    if len(rows) <= count:
        return rows.tolist()
    try:
        kept, _ = train_test_split(rows, train_size=count, stratify=labels, random_state=seed)
    except ValueError as error:
        raise ValueError(f"{count} images cannot represent every class: {error}") from error
    return sorted(int(row) for row in kept)
