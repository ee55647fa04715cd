"""Small networks and copies of them, for the tests of lineage."""

import copy
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from modelgif.experiment.networks import convnet, mobilenet, resnet, vgg

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "convnet": convnet,
    "mobilenet": mobilenet,
    "resnet": resnet,
    "vgg": vgg,
}


def digits() -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(labels)


def train(
    network: nn.Module, *, seed: int, lr: float = 0.05, epochs: int = 2, parity: bool = False
) -> nn.Module:
    """Trains in place on 500 digits chosen by the seed, or on whether they are odd."""
    images, labels = digits()
    labels = labels % 2 if parity else labels
    generator = torch.Generator().manual_seed(seed)
    mine = torch.randperm(len(images), generator=generator)[:500]
    optimiser = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9)
    network.train()
    for _ in range(epochs):
        for batch in mine[torch.randperm(len(mine), generator=generator)].split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimiser.step()
    return network.eval()


def trained(name: str, *, init: int, seed: int, epochs: int = 2, classes: int = 10) -> nn.Module:
    torch.manual_seed(init)
    return train(ARCHITECTURES[name](1, classes), seed=seed, epochs=epochs)


def tuned(network: nn.Module, *, seed: int, lr: float = 0.02, epochs: int = 1) -> nn.Module:
    return train(copy.deepcopy(network), seed=seed, lr=lr, epochs=epochs)
