"""Pretraining by telling apart: the labels, quarter turns, or orders of the quarters."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_selection.pretraining.pretext import Figure, Pretext

# Top left, top right, bottom left, bottom right.
ORDERS = tuple(itertools.permutations(range(4)))


class Supervised(Pretext):
    """The source's labels; the network has its own head, which is kept."""

    def loss(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Returns the cross-entropy."""
        return F.cross_entropy(self.network(images), labels)

    def figure(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Figure:
        """Returns the accuracy, and the share of the most frequent class."""
        logits = self.network(images)
        most = labels.bincount().max().item() / len(labels)
        return Figure("label_accuracy", _accuracy(logits, labels), most)


class Rotation(Pretext):
    """By how many quarter turns an image was rotated; every image is shown in all four ways."""

    def __init__(self, network: nn.Module, n_features: int) -> None:
        super().__init__(network)
        self.head = nn.Linear(n_features, 4)

    def loss(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Returns the cross-entropy of the turns."""
        turned, turns = rotations(images)
        return F.cross_entropy(self.head(self.network(turned)), turns)

    def figure(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Figure:
        """Returns the accuracy of the turns."""
        turned, turns = rotations(images)
        return Figure("rotation_accuracy", _accuracy(self.head(self.network(turned)), turns), 1 / 4)


class Jigsaw(Pretext):
    """Which of the 24 orders the quarters of an image are in."""

    def __init__(self, network: nn.Module, n_features: int) -> None:
        super().__init__(network)
        self.head = nn.Linear(n_features, len(ORDERS))

    def loss(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Returns the cross-entropy of the orders."""
        shuffled, orders = self._drawn(images, generator)
        return F.cross_entropy(self.head(self.network(shuffled)), orders)

    def figure(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Figure:
        """Returns the accuracy of the orders."""
        shuffled, orders = self._drawn(images, generator)
        accuracy = _accuracy(self.head(self.network(shuffled)), orders)
        return Figure("jigsaw_accuracy", accuracy, 1 / len(ORDERS))

    def _drawn(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        orders = torch.randint(len(ORDERS), (len(images),), generator=generator)
        orders = orders.to(images.device)
        return shuffled_quarters(images, orders), orders


def rotations(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns images turned by 0, 1, 2, 3 quarters, counter-clockwise, and how many.

    Args:
        images: square, ``[B, C, H, H]``.

    Returns:
        ``[4 B, C, H, H]``, the untouched ones first, and ``[4 B]``.

    Raises:
        ValueError: for images that are not square.
    """
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"only square images can be rotated, got {list(images.shape)}.")
    turned = torch.cat([torch.rot90(images, k, (2, 3)) for k in range(4)])
    return turned, torch.arange(4, device=images.device).repeat_interleave(len(images))


def shuffled_quarters(images: Tensor, orders: Tensor) -> Tensor:
    """Returns images whose place i, row by row, shows the quarter ``ORDERS[order][i]``.

    Args:
        images: of even height and width, ``[B, C, H, W]``.
        orders: positions in `ORDERS`, ``[B]``.

    Raises:
        ValueError: for odd images.
    """
    count, channels, height, width = images.shape
    if height % 2 or width % 2:
        raise ValueError(f"only images of even sides have quarters, got {list(images.shape)}.")
    h, w = height // 2, width // 2
    quarters = images.reshape(count, channels, 2, h, 2, w).permute(0, 2, 4, 1, 3, 5)
    quarters = quarters.reshape(count, 4, channels, h, w)
    places = torch.tensor(ORDERS, device=images.device)[orders]
    moved = quarters[torch.arange(count, device=images.device)[:, None], places]
    moved = moved.reshape(count, 2, 2, channels, h, w).permute(0, 3, 1, 4, 2, 5)
    return moved.reshape(images.shape)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(1) == labels).double().mean().item()
