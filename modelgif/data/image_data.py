"""Labelled images in memory."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

DataName = Literal["digits", "photos", "fashion_mnist", "cifar10", "cifar100", "folder"]


@dataclass(frozen=True, eq=False)
class ImageData:
    """Training and test images with their labels.

    Attributes:
        name: of the data set.
        train_images: ``[N, C, H, W]`` float32, pixels in [0, 1].
        train_labels: ``[N]`` int64, positions in `classes`; every class has a training image.
        test_images: ``[M, C, H, W]`` float32, pixels in [0, 1].
        test_labels: ``[M]`` int64, positions in `classes`; classes may be missing.
        classes: names of the classes.

    Raises:
        ValueError: for tensors of another shape, dtype or range.

    Example:
        >>> images, labels = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])
        >>> data = ImageData("made", images, labels, images, labels, ("a", "b"))
        >>> data.mean.shape
        torch.Size([1, 1, 1, 1])
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = self.train_images.shape[1:]
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            where = f"{self.name}: {split} images"
            if images.ndim != 4 or len(images) == 0 or images.shape[1:] != shape:
                raise ValueError(
                    f"{where} must be [N, C, H, W] with the same C, H, W in both splits, got "
                    f"{list(self.train_images.shape)} and {list(self.test_images.shape)}."
                )
            if images.dtype != torch.float32 or not (images.min() >= 0 and images.max() <= 1):
                raise ValueError(
                    f"{where} must be float32 in [0, 1], got {images.dtype} in "
                    f"[{images.min():g}, {images.max():g}]."
                )
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{where} need one int64 label each, got {len(images)} images and "
                    f"{labels.dtype} labels {list(labels.shape)}."
                )
            if labels.min() < 0 or labels.max() >= len(self.classes):
                raise ValueError(
                    f"{where} must have labels in 0..{len(self.classes) - 1}, got "
                    f"{labels.min()}..{labels.max()}."
                )
        counts = torch.bincount(self.train_labels, minlength=len(self.classes)).tolist()
        if absent := [name for name, n in zip(self.classes, counts, strict=True) if n == 0]:
            raise ValueError(f"{self.name}: no training image of the classes {', '.join(absent)}.")

    @property
    def mean(self) -> Tensor:
        """The training images' mean per channel, ``[1, C, 1, 1]``."""
        return self.train_images.mean((2, 3), keepdim=True).double().mean(0, keepdim=True).float()

    def sha256(self) -> str:
        """Returns the digest of classes, shapes, pixels and labels."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for tensor in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(repr(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()
