"""Image data sets by name, each with a fixed split into training and test images."""

import difflib
import os
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import torchvision.transforms.v2.functional as transforms
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

from modelgif.data.idx import read_idx
from modelgif.data.image_data import DataName, ImageData
from modelgif.data.image_folder import read_image_folder
from modelgif.data.photos import PHOTOGRAPHS, load_photos

# Where Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


_Splits = tuple[Tensor, Tensor, Tensor, Tensor, tuple[str, ...]]


def load_data(
    name: DataName,
    *,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    size: int | None = None,
) -> ImageData:
    """Returns the data set `name`.

    - ``digits``: the 8 x 8 grey digits that scikit-learn carries, divided by 16; 1347 for training
      and 450 for the test, with equal shares of the classes
    - ``photos``: 32 x 32 colour crops of photographs, see `modelgif.data.photos.load_photos`
    - ``fashion_mnist``: 28 x 28 grey, 60000 and 10000; its four IDX files, compressed or not, lie
      in `root`, in ``root/FashionMNIST/raw``, or, without `root`, where Debian's package
      ``dataset-fashion-mnist`` puts them
    - ``cifar10`` and ``cifar100``: 32 x 32 colour, 50000 and 10000; the folder
      ``cifar-10-batches-py`` or ``cifar-100-python`` lies in `root`
    - ``folder``: your own images, see `modelgif.data.image_folder.read_image_folder`

    Args:
        name: one of the above.
        root: folder of the files; None for ``digits`` and ``photos``.
        download: whether to fetch the missing files of Fashion-MNIST or CIFAR into `root`.
        size: pixels per side to resize to, by bilinear interpolation with antialiasing; by default
            the data set's own. ``folder`` needs it.

    Raises:
        FileNotFoundError: when files are missing; the message says how to get them.
        ValueError: for an unknown name, an argument that does not fit it, or damaged files.

    Example:
        >>> data = load_data("digits")
        >>> data.train_images.shape, data.test_labels.shape, data.classes[:3]
        (torch.Size([1347, 1, 8, 8]), torch.Size([450]), ('0', '1', '2'))
    """
    if name not in get_args(DataName):
        near = difflib.get_close_matches(name, get_args(DataName), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of them."
        raise ValueError(
            f"name must be one of {', '.join(get_args(DataName))}, got {name!r}; {hint}"
        )
    if size is not None and size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}.")
    if name in ("digits", "photos") and (root is not None or download):
        raise ValueError(f"{name} comes with the installed libraries: leave out root and download.")
    folder = None if root is None else Path(root).expanduser()
    if name == "folder":
        if folder is None or size is None or download:
            raise ValueError("folder needs root and size, and nothing can be downloaded for it.")
        return ImageData(name, *read_image_folder(folder, size))
    if name == "photos":
        return ImageData(name, *load_photos(size or 32), PHOTOGRAPHS)
    if name == "digits":
        splits = _digits()
    elif name == "fashion_mnist":
        splits = _fashion_mnist(folder, download)
    else:
        splits = load_cifar(CIFAR10 if name == "cifar10" else CIFAR100, folder, download)
    train_images, train_labels, test_images, test_labels, classes = splits
    return ImageData(
        name,
        _resized(train_images, size),
        train_labels,
        _resized(test_images, size),
        test_labels,
        classes,
    )


def _digits() -> _Splits:
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().reshape(-1, 1, 8, 8) / 16
    train, test = train_test_split(
        np.arange(len(labels)), test_size=450, stratify=labels, random_state=0
    )
    targets = torch.from_numpy(labels).long()
    return images[train], targets[train], images[test], targets[test], tuple("0123456789")


def _fashion_mnist(root: Path | None, download: bool) -> _Splits:
    own = [DEBIAN_FASHION_MNIST] if root is None else [root, root / "FashionMNIST" / "raw"]
    files = next(filter(None, map(_fashion_mnist_files, own)), None)
    if files is None and root is not None and download:
        FashionMNIST(root, download=True)
        files = _fashion_mnist_files(root / "FashionMNIST" / "raw")
    if files is None:
        raise FileNotFoundError(
            f"the IDX files of Fashion-MNIST are not in {' or '.join(map(str, own))}: either "
            "apt-get install dataset-fashion-mnist and leave out root, or give root and "
            "download: true."
        )
    train_images, train_labels, test_images, test_labels = map(read_idx, files)
    return (
        _unit(train_images[:, None]),
        train_labels.long(),
        _unit(test_images[:, None]),
        test_labels.long(),
        tuple(FashionMNIST.classes),
    )


def _fashion_mnist_files(folder: Path) -> list[Path] | None:
    """The four files in `folder`, compressed or not, or None when one is missing."""
    files = [
        next(filter(Path.is_file, (folder / name, folder / f"{name}.gz")), None)
        for split in ("train", "t10k")
        for name in (f"{split}-images-idx3-ubyte", f"{split}-labels-idx1-ubyte")
    ]
    found = [file for file in files if file is not None]
    return found if len(found) == len(files) else None


def load_cifar(kind: type[CIFAR10], root: Path | None, download: bool) -> _Splits:
    """Returns the splits that torchvision's class `kind` reads or, with `download`, puts in `root`.

    Raises:
        ValueError: without `root`.
        FileNotFoundError: when `root` has no valid copy and nothing may be downloaded.
    """
    if root is None:
        raise ValueError(f"give root, the folder that holds or is to hold {kind.base_folder}.")
    try:
        train = kind(root, train=True, download=download)
        test = kind(root, train=False)
    except RuntimeError as error:
        if download:
            raise
        raise FileNotFoundError(
            f"{root} has no complete {kind.base_folder}: put the extracted folder there, or give "
            "download: true."
        ) from error
    return (
        _unit(torch.from_numpy(train.data).permute(0, 3, 1, 2)),
        torch.tensor(train.targets),
        _unit(torch.from_numpy(test.data).permute(0, 3, 1, 2)),
        torch.tensor(test.targets),
        tuple(train.classes),
    )


def _unit(images: Tensor) -> Tensor:
    """Bytes as pixels in [0, 1]."""
    return images.float().div_(255).contiguous()


def _resized(images: Tensor, size: int | None) -> Tensor:
    if size is None:
        return images
    return transforms.resize(images, [size, size], antialias=True).clamp_(0, 1)
