"""Small trained networks for cases of verdicts: a victim, thieves and honest models, on digits."""

import copy
import functools

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

N_CLASSES = 10


class Small(nn.Module):
    """Two convolutions and a linear head, with BatchNorm."""

    def __init__(self, n_classes: int = N_CLASSES, width: int = 12) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(8 * width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """All images ``[1797, 1, 8, 8]`` in [0, 1] and their labels, in random order."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return x[order], torch.tensor(labels)[order]


# Rows of `digits`: what the public network, the victim and the others learn, and the references.
PUBLIC, VICTIM, OTHERS, REFERENCES = (
    slice(0, 500),
    slice(500, 1000),
    slice(1000, 1600),
    slice(1600, 1797),
)


def part(rows: slice, seed: int, n: int = 400) -> tuple[Tensor, Tensor]:
    """A random part of some rows."""
    images, labels = (t[rows] for t in digits())
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:n]
    return images[chosen], labels[chosen]


def fresh(seed: int, **options: int) -> Small:
    """A network from a random start of its own; large seeds are nobody's usual ones."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small(**options)


def trained(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    epochs: int = 8,
    rate: float = 0.05,
) -> nn.Module:
    """A copy of `network` after training; float targets are answers to be matched."""
    network = copy.deepcopy(network).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=draw).split(50):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[rows]), targets[rows]).backward()
            optimiser.step()
    return network.eval()


def rehead(network: nn.Module, seed: int) -> nn.Module:
    """A copy with a new, random head."""
    copied = copy.deepcopy(network)
    copied.head = fresh(seed).head
    return copied


class Zoo:
    """Models made when they are asked for, each once; seeds are apart from one another."""

    @functools.cached_property
    def public(self) -> nn.Module:
        """A public network, trained on another question: odd or even."""
        images, labels = part(PUBLIC, 1)
        return trained(fresh(900_001, n_classes=2), images, labels % 2, seed=1)

    @functools.cached_property
    def victim(self) -> nn.Module:
        """Trained from a start of its own."""
        return trained(fresh(910_001), *part(VICTIM, 2), seed=2)

    @functools.cached_property
    def public_victim(self) -> nn.Module:
        """Fine-tuned from the public network."""
        return trained(rehead(self.public, 920_001), *part(VICTIM, 2), seed=2)

    @functools.cached_property
    def independents(self) -> list[nn.Module]:
        """Nineteen from starts of their own, on other data."""
        return [self.honest(i) for i in range(19)]

    @functools.cached_property
    def public_independents(self) -> list[nn.Module]:
        """Nineteen fine-tuned from the public network, on other data."""
        return [self.public_honest(i) for i in range(19)]

    @functools.cache  # noqa: B019
    def honest(self, i: int) -> nn.Module:
        """From a start of its own, on other data."""
        return trained(fresh(930_001 + i), *part(OTHERS, 100 + i), seed=100 + i)

    @functools.cache  # noqa: B019
    def public_honest(self, i: int) -> nn.Module:
        """Fine-tuned from the public network, on other data."""
        start = rehead(self.public, 940_001 + i)
        return trained(start, *part(OTHERS, 200 + i), seed=200 + i)

    def fine_tuned(self, victim: nn.Module, *, seed: int = 7, rate: float = 0.01) -> nn.Module:
        """A thief: the victim, trained on other data."""
        return trained(victim, *part(OTHERS, 300 + seed), seed=seed, epochs=4, rate=rate)

    def extracted(self, victim: nn.Module, *, seed: int = 8) -> nn.Module:
        """A thief: a network of its own start, trained on the victim's probabilities."""
        images, _ = part(OTHERS, 400 + seed, n=600)
        with torch.no_grad():
            answers = victim(images).softmax(1)
        return trained(fresh(950_001 + seed), images, answers, seed=seed, epochs=30)
