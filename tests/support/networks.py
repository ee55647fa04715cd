"""Tiny networks that tests describe and compare, the same for the same seed on every machine."""

from typing import TypeVar

import torch
from torch import nn

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def with_normal_weights(network: NetworkT, seed: int, *, gain: float = 1.0) -> NetworkT:
    """The network, whose weights are now drawn from a normal distribution of deviation `gain`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(gain * torch.randn(parameter.shape, generator=generator))
    return network


def tiny_network(seed: int, *, inputs: int, width: int = 6, n_classes: int = 4) -> nn.Sequential:
    """A smooth classifier of inputs of `inputs` numbers."""
    layers = nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, n_classes)
    return with_normal_weights(nn.Sequential(nn.Flatten(), *layers), seed)
