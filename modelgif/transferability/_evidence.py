"""The evidence of Bayesian linear regression, from two descriptions of one Gram matrix.

For features F ``[N, D]`` and targets y_c, everything the evidence asks of G = FᵀF at a ratio
λ = α/β of precisions is, with m = (λ + G)⁻¹ Fᵀ y_c: γ = tr G (λ + G)⁻¹, N − γ, ‖m‖²,
‖y_c − F m‖² and log det(λ + G).
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from modelgif.transferability._checks import Sample
from modelgif.transferability._linear import gram_projections


class Spectrum(Protocol):
    """A Gram matrix and the targets of C regressions."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        ...

    def solve(self, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns γ, N − γ, ‖m‖² and ‖y − F m‖² ``[C]`` at the ratios ``[C]``."""
        ...

    def log_determinant(self, ratio: Tensor) -> Tensor:
        """Returns log det(λ + G) ``[C]`` at the ratios ``[C]``."""
        ...


class EigenSpectrum(NamedTuple):
    """The singular value decomposition of F, as far as the targets see it.

    Attributes:
        values: squared singular values σ_k, ``[K, 1]``.
        energies: squared components of the targets along the left singular vectors, ``[K, C]``.
        outside: squared norm of the targets outside of these, ``[C]``.
        shape: (N, D).
    """

    values: Tensor
    energies: Tensor
    outside: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, sample: Sample) -> "EigenSpectrum":
        """Returns the spectrum of a sample's features and one-vs-rest targets."""
        x, (n, dimensions) = sample.features, sample.features.shape
        if dimensions > n:
            values, projections = gram_projections(x, sample.one_hot)
            values, energies = values[:, None], projections**2
        else:
            sums = sample.class_means() * sample.counts[:, None]
            values, projections = gram_projections(x, sums.T)
            values = values[:, None]
            energies = torch.where(values > 0, projections**2 / values, 0)
        outside = (sample.counts - energies.sum(0)).clamp(min=0)
        return cls(values, energies, outside, (n, dimensions))

    def solve(self, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `Spectrum`; nothing cancels, so that a perfect fit (λ → 0) stays exact."""
        fitted = self.values / (self.values + ratio)
        norm = (self.energies * fitted / (self.values + ratio)).sum(0)
        unfitted = ratio / (self.values + ratio)
        residual = (self.energies * unfitted**2).sum(0) + self.outside
        return fitted.sum(0), unfitted.sum(0) + (self.shape[0] - len(self.values)), norm, residual

    def log_determinant(self, ratio: Tensor) -> Tensor:
        """As `Spectrum`; the D − K directions that hold no features have σ = 0."""
        empty = self.shape[1] - len(self.values)
        return (self.values + ratio).log().sum(0) + empty * ratio.log()


class MeansSpectrum(NamedTuple):
    """G = W + M'ᵀ diag(n) M' of class means M' = (1 + T) M that move about fixed residuals.

    W, the Gram matrix of the features less their class means, keeps its eigenvalues w_k whatever
    T is, and (λ + G)⁻¹ follows from K(λ) = √n M'(λ + W)⁻¹M'ᵀ √n, a C × C matrix (Woodbury).

    Attributes:
        values: w_k ``[K]``; the last is 0 and stands for the D − K + 1 directions outside W.
        pairs: (M v_k)_i (M v_k)_j for the pairs i ≤ j of classes, ``[C(C + 1)/2, K]``.
        counts: n_c, ``[C]``.
        transform: √n (1 + T), ``[C, C]``.
        shape: (N, D).
    """

    values: Tensor
    pairs: Tensor
    counts: Tensor
    transform: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, sample: Sample) -> "MeansSpectrum":
        """Returns the spectrum of a sample whose means have not moved."""
        means = sample.class_means()
        residual = sample.features - means[sample.labels]
        tall = residual.shape[1] <= residual.shape[0]
        values, right = gram_projections(residual, means.T if tall else residual @ means.T)
        held = values > values[-1] * max(residual.shape) * torch.finfo(values.dtype).eps
        values, projected = values[held], right[held].T
        if not tall:
            projected = projected / values.sqrt()
        i, j = _pairs_of(len(means), means.device)
        outside = (means @ means.T - projected @ projected.T)[i, j]
        if len(values) == residual.shape[1]:
            outside = torch.zeros_like(outside)
        return cls(
            torch.cat([values, values.new_zeros(1)]),
            torch.cat([projected[i] * projected[j], outside[:, None]], dim=1),
            sample.counts,
            sample.counts.sqrt().diag(),
            (residual.shape[0], residual.shape[1]),
        )

    def moved(self, displacement: Tensor) -> "MeansSpectrum":
        """Returns the spectrum with the class means moved by `displacement` T ``[C, C]``."""
        root = self.counts.sqrt()
        return self._replace(transform=root[:, None] * displacement + root.diag())

    def solve(self, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `Spectrum`."""
        damped = 1 / (self.values[:, None] + ratio)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(self._one_plus_kernel(damped)))
        second = self._kernel(damped**2)
        held = (inverse * second).sum((1, 2))
        gamma = (self.values[:, None] * damped).sum(0) + ratio * held
        each = torch.arange(len(ratio), device=ratio.device)
        row = inverse[each, each]
        norm = self.counts * torch.einsum("ci,cij,cj->c", row, second, row)
        residual = self.counts * row[each, each] - ratio * norm
        return gamma, self.shape[0] - gamma, norm, residual.clamp(min=0)

    def log_determinant(self, ratio: Tensor) -> Tensor:
        """As `Spectrum`."""
        shifted = self.values[:, None] + ratio
        empty = self.shape[1] - len(self.values)
        factor = torch.linalg.cholesky(self._one_plus_kernel(1 / shifted))
        kernel = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
        return shifted.log().sum(0) + empty * ratio.log() + kernel

    def _one_plus_kernel(self, weights: Tensor) -> Tensor:
        kernel = self._kernel(weights)
        kernel.diagonal(dim1=1, dim2=2).add_(1)
        return kernel

    def _kernel(self, weights: Tensor) -> Tensor:
        """Returns √n M' f(W) M'ᵀ √n ``[C, C, C]`` for each column of ``f(w_k)`` ``[K, C]``."""
        n_classes = len(self.counts)
        i, j = _pairs_of(n_classes, weights.device)
        plain = weights.new_empty(weights.shape[1], n_classes, n_classes)
        plain[:, i, j] = plain[:, j, i] = (self.pairs @ weights).T
        return self.transform @ plain @ self.transform.T


def max_evidence(
    spectrum: Spectrum,
    n_targets: int,
    *,
    device: torch.device,
    tolerance: float = 1e-2,
    max_iterations: int = 11,
    epsilon: float = 1e-5,
) -> Tensor:
    """Returns the log evidence per sample of every target ``[C]`` at MacKay's fixed point.

    Starts from α = β = 1; a target stops when α/β changes by less than `tolerance` of itself.
    `epsilon` is added to the norms of weights and residual.
    """
    n, dimensions = spectrum.shape
    ratio = torch.ones(n_targets, dtype=torch.float64, device=device)
    alpha = beta = norm = residual = ratio
    active = torch.ones_like(ratio, dtype=torch.bool)
    for _ in range(max_iterations):
        gamma, freedom, new_norm, new_residual = spectrum.solve(ratio)
        norm = torch.where(active, new_norm, norm)
        residual = torch.where(active, new_residual, residual)
        alpha = torch.where(active, gamma / (norm + epsilon), alpha)
        beta = torch.where(active, freedom / (residual + epsilon), beta)
        active = active & ((alpha / beta - ratio).abs() >= tolerance * ratio)
        if not active.any():
            break
        ratio = torch.where(active, alpha / beta, ratio)
    # ½ [D log α + N log β − log det(α + β G) − β ‖y − F m‖² − α ‖m‖² − N log 2π] / N
    return (
        dimensions * (alpha / beta).log()
        + n * (beta / (2 * math.pi)).log()
        - spectrum.log_determinant(alpha / beta)
        - beta * (residual + epsilon)
        - alpha * (norm + epsilon)
    ) / (2 * n)


def _pairs_of(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    i, j = torch.triu_indices(n, n, device=device)
    return i, j
