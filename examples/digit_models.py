"""Small networks that learn scikit-learn's digits in a second: what the other examples compare."""

import copy

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F


def digits() -> tuple[Tensor, Tensor]:
    """All images ``[1797, 1, 8, 8]`` in [0, 1], in a fixed random order, and their labels."""
    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(pixels / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return images[order], torch.tensor(labels)[order]


def network() -> nn.Module:
    """Two convolutions and a linear layer, untrained."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def trained(
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    start: nn.Module | None = None,
    epochs: int = 8,
    learning_rate: float = 5e-3,
) -> nn.Module:
    """A network that learnt these images, from fresh weights or from a copy of `start`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network() if start is None else copy.deepcopy(start)
        optimizer = torch.optim.Adam(model.parameters(), learning_rate)
        for _ in range(epochs):
            for batch in torch.randperm(len(images)).split(64):
                optimizer.zero_grad()
                F.cross_entropy(model(images[batch]), labels[batch]).backward()
                optimizer.step()
    return model.eval()
