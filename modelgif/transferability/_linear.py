"""Linear algebra that several scores share: Gram matrix, principal components, discriminant."""

import torch
from torch import Tensor

from modelgif.transferability._checks import Sample


def gram(x: Tensor) -> Tensor:
    """Returns ``xᵀ x`` ``[D, D]`` of ``x`` ``[N, D]``."""
    if x.device.type == "cpu":
        # NumPy sees that both factors are one matrix and does half of the work (syrk).
        array = x.numpy()
        return torch.from_numpy(array.T @ array)
    return x.T @ x


def gram_eigen(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the eigenvalues and eigenvectors of the Gram matrix of ``x`` on its smaller side.

    Returns:
        K = min(N, D) eigenvalues ``[K]``, ascending and at least 0, and eigenvectors: of ``xᵀ x``
        ``[D, K]`` when D ≤ N, else of ``x xᵀ`` ``[N, K]``.
    """
    values, vectors = torch.linalg.eigh(gram(x) if x.shape[1] <= x.shape[0] else gram(x.T))
    return values.clamp(min=0), vectors


def principal_components(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the principal components of ``x`` ``[N, D]`` and their variances, largest first.

    The largest loading of every component is positive, scikit-learn's convention: the Pearson
    correlation of two samples' components depends on their signs.

    Returns:
        Projections ``[N, K]`` and variances ``[K]`` (divided by N − 1), K = min(N, D).
    """
    centred = x - x.mean(0)
    values, vectors = gram_eigen(centred)
    values, vectors = values.flip(0), vectors.flip(1)
    if x.shape[1] > x.shape[0]:
        projected, loadings = vectors * values.sqrt(), centred.T @ vectors
    else:
        projected, loadings = centred @ vectors, vectors
    largest = loadings.gather(0, loadings.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -projected, projected), values / max(len(x) - 1, 1)


def within_class_covariance(sample: Sample) -> Tensor:
    """Returns the covariance within classes ``[D, D]``, divided by N."""
    residual = sample.class_means()[sample.labels].neg_().add_(sample.features)
    return gram(residual).div_(len(residual))


def shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    """Returns ``(1 − s) Σ + s tr(Σ)/D · I``."""
    result = covariance * (1 - shrinkage)
    result.diagonal().add_(shrinkage * covariance.diagonal().mean())
    return result


def discriminant_posterior(sample: Sample, covariance: Tensor | None = None) -> Tensor:
    """Returns p(class | sample) ``[N, C]`` of Gaussian classes with one shared covariance.

    Args:
        sample: the samples; the class shares are the priors.
        covariance: the shared covariance ``[D, D]``, positive definite; None for the identity.

    Raises:
        ValueError: for a covariance that is not positive definite.
    """
    # Moving the origin changes no posterior, and a centred one loses no digits to a large mean.
    centre = sample.features.mean(0)
    means = sample.class_means() - centre
    weights = means.T if covariance is None else _solve(covariance, means.T)
    offsets = sample.counts.log() - (means * weights.T).sum(1) / 2
    return torch.softmax((sample.features - centre) @ weights + offsets, dim=1)


def _solve(covariance: Tensor, right: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise ValueError(
            "the covariance within classes is singular, so that no discriminant exists; "
            "drop constant features, or give every class more than one distinct sample."
        )
    return torch.cholesky_solve(right, factor)
