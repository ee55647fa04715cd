"""What all kinds of pretraining have in common."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Figure(NamedTuple):
    """What shows that something was learnt.

    Attributes:
        quantity: what was measured.
        value: of it.
        plain: what it is when nothing is known: by chance, or with the mean image as the answer.
    """

    quantity: str
    value: float
    plain: float


class Pretext(nn.Module, ABC):
    """A network with what its pretraining adds: heads, and a question whose answer is known.

    Args:
        network: what is pretrained and kept.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Returns the mean loss of a batch, a scalar.

        Args:
            images: ``[B, C, H, W]`` in [0, 1], on the network's device.
            labels: ``[B]``, on the network's device; only supervised pretraining may look at them.
            generator: CPU generator of everything random.
        """

    @abstractmethod
    def figure(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Figure:
        """Returns what shows that something was learnt, of images that were not; see `loss`."""

    def after_step(self) -> None:
        """Does what follows a step of the optimiser: nothing, by default."""


def mlp(n_in: int, n_hidden: int, n_out: int) -> nn.Module:
    """Returns a hidden layer with BatchNorm and ReLU, and a linear one after it."""
    return nn.Sequential(
        nn.Linear(n_in, n_hidden, bias=False),
        nn.BatchNorm1d(n_hidden),
        nn.ReLU(),
        nn.Linear(n_hidden, n_out),
    )
