"""Pretraining that compares two views of each image: SimCLR, Barlow Twins and BYOL."""

import copy
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_selection.pretraining.pretext import Figure, Pretext, mlp
from model_selection.pretraining.views import random_views
from model_selection.pretraining_config import (
    BarlowTwinsConfig,
    BYOLConfig,
    SimCLRConfig,
    ViewsConfig,
)

_HIDDEN = 128
# Images among which a view must find its partner, when shown what was learnt.
N_COMPARED = 256


class Comparing(Pretext):
    """Pretraining on two random views of every image.

    Args:
        network: gives features.
        n_features: their number.
        n_projection: numbers that are compared, a small network's function of the features.
        views: how views are drawn.
    """

    def __init__(
        self, network: nn.Module, n_features: int, n_projection: int, views: ViewsConfig
    ) -> None:
        super().__init__(network)
        self.projection = mlp(n_features, _HIDDEN, n_projection)
        self.views = views

    def loss(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Returns the loss of two views."""
        return self.compare(*self._two_views(images, generator))

    def figure(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Figure:
        """Returns how many first views are nearest, by cosine, to the second view of their image.

        They choose among those of the first `N_COMPARED` images.
        """
        images = images[:N_COMPARED]
        first, second = self.both(*self._two_views(images, generator))
        nearest = (F.normalize(first) @ F.normalize(second).T).argmax(1)
        right = nearest == torch.arange(len(images), device=images.device)
        return Figure("partner_accuracy", right.double().mean().item(), 1 / len(images))

    @abstractmethod
    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Returns the loss of two views ``[B, C, H, W]`` of the same images."""

    def both(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what is compared of two views: their projections ``[B, D]``."""
        one, other = self.projection(self.network(torch.cat([first, second]))).chunk(2)
        return one, other

    def _two_views(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        first, second = (random_views(images, self.views, generator=generator) for _ in range(2))
        return first, second


class SimCLR(Comparing):
    """Two views of an image are to be nearer to each other than to any other in the batch."""

    def __init__(self, network: nn.Module, n_features: int, config: SimCLRConfig) -> None:
        super().__init__(network, n_features, config.n_projection, config.views)
        self.temperature = config.temperature

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Returns `nt_xent` of the projections."""
        return nt_xent(*self.both(first, second), temperature=self.temperature)


class BarlowTwins(Comparing):
    """Projections of two views are to agree, and each of their numbers to say something else."""

    def __init__(self, network: nn.Module, n_features: int, config: BarlowTwinsConfig) -> None:
        super().__init__(network, n_features, config.n_projection, config.views)
        self.redundancy = config.redundancy

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Returns `cross_correlation_loss` of the projections."""
        return cross_correlation_loss(*self.both(first, second), redundancy=self.redundancy)


class BYOL(Comparing):
    """A projection is to predict that of another view by a slow average of the weights.

    Source: Grill et al., Bootstrap your own latent, NeurIPS 2020.
    """

    def __init__(self, network: nn.Module, n_features: int, config: BYOLConfig) -> None:
        super().__init__(network, n_features, config.n_projection, config.views)
        self.prediction = mlp(config.n_projection, _HIDDEN, config.n_projection)
        self.momentum = config.momentum
        self.target = copy.deepcopy(nn.Sequential(self.network, self.projection))
        self.target.requires_grad_(False)

    def compare(self, first: Tensor, second: Tensor) -> Tensor:
        """Returns the mean squared distance of unit vectors, both ways added."""
        views = torch.cat([first, second])
        said, wanted = self.both(views, views.roll(len(first), 0))
        return 2 * (2 - 2 * F.cosine_similarity(said, wanted)).mean()

    def both(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what is said of the first views, and what the average says of the second."""
        with torch.no_grad():
            wanted = self.target(second)
        return self.prediction(self.projection(self.network(first))), wanted

    def after_step(self) -> None:
        """Moves the average towards the weights."""
        own = nn.Sequential(self.network, self.projection)
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), own.parameters(), strict=True):
                slow.lerp_(fast, 1 - self.momentum)


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Returns the normalised temperature-scaled cross-entropy of two views' projections.

    With s the cosine similarity of two of the 2 B projections and j(i) the other view of i,
    ``mean_i −log(exp(s_ij(i) / T) / Σ_{k≠i} exp(s_ik / T))``.

    Args:
        first: ``[B, D]``.
        second: ``[B, D]``, of the same images in the same order.
        temperature: T.

    Source: Chen et al., A simple framework for contrastive learning of visual representations,
    ICML 2020, equation 1.
    """
    projected = F.normalize(torch.cat([first, second]))
    scores = projected @ projected.T / temperature
    scores = scores.masked_fill(torch.eye(len(scores), device=scores.device).bool(), -torch.inf)
    return F.cross_entropy(scores, partners(len(first), scores.device))


def cross_correlation_loss(first: Tensor, second: Tensor, *, redundancy: float) -> Tensor:
    """Returns how far the correlations of two views' projections are from the identity.

    With c_ij the correlation over the batch of number i of the first with number j of the second,
    ``Σ_i (1 − c_ii)² + λ Σ_{i≠j} c_ij²``. A number that does not vary correlates with none.

    Args:
        first: ``[B, D]``, B at least 2.
        second: ``[B, D]``, of the same images in the same order.
        redundancy: λ.

    Source: Zbontar et al., Barlow Twins, ICML 2021, equation 1.
    """
    # Centred and of unit length down the batch: products are correlations.
    a, b = (F.normalize(view - view.mean(0), dim=0) for view in (first, second))
    correlation = a.T @ b
    agreement = correlation.diagonal()
    others = correlation.square().sum() - agreement.square().sum()
    return (1 - agreement).square().sum() + redundancy * others


def partners(count: int, device: torch.device) -> Tensor:
    """Returns for each of two views of `count` images, stacked, where the other one is, ``[2 B]``.

    Args:
        count: B.
        device: where.
    """
    return torch.arange(2 * count, device=device).roll(count)
