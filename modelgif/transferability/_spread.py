"""Classes as their means and what is left: covariance within classes, and discriminant."""

from typing import NamedTuple

import torch
from torch import Tensor

from modelgif.transferability._checks import Sample
from modelgif.transferability._linear import gram


class Spread(NamedTuple):
    """A sample's features as class means and residuals.

    Attributes:
        means: ``[C, D]``.
        residual: features less the mean of their class, ``[N, D]``.
        labels: ``[N]``.
        counts: class sizes, ``[C]``.
    """

    means: Tensor
    residual: Tensor
    labels: Tensor
    counts: Tensor

    @classmethod
    def of(cls, sample: Sample) -> "Spread":
        """Returns the means and residuals of a sample."""
        means = sample.class_means()
        # In place: making an array of this size costs more than going through it.
        residual = means[sample.labels].neg_().add_(sample.features)
        return cls(means, residual, sample.labels, sample.counts)

    def covariance(self) -> Tensor:
        """Returns the covariance within classes ``[D, D]``, divided by N."""
        return gram(self.residual).div_(len(self.residual))

    def posterior(self, covariance: Tensor | None = None) -> Tensor:
        """Returns p(class | sample) ``[N, C]`` of Gaussian classes with one shared covariance.

        Args:
            covariance: ``[D, D]``, positive definite; None for the identity. The class shares are
                the priors.

        Raises:
            ValueError: for a covariance that is not positive definite.
        """
        # Moving the origin changes no posterior, and a centred one loses no digits to a large mean.
        means = self.means - self.counts @ self.means / len(self.labels)
        weights = means.T if covariance is None else _solve(covariance, means.T)
        offsets = self.counts.log() - (means * weights.T).sum(1) / 2
        logits = (means @ weights + offsets)[self.labels].addmm_(self.residual, weights)
        return torch.softmax(logits, dim=1)


def shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    """Returns ``(1 − s) Σ + s tr(Σ)/D · I``."""
    result = covariance * (1 - shrinkage)
    result.diagonal().add_(shrinkage * covariance.diagonal().mean())
    return result


def _solve(covariance: Tensor, right: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise ValueError(
            "the covariance within classes is singular, so that no discriminant exists; "
            "drop constant features, or give every class more than one distinct sample."
        )
    return torch.cholesky_solve(right, factor)
