"""Potential energy descent of class means, for every setting of its parameters."""

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from modelgif.transferability._checks import Features, Labels, Sample, checked, checked_matrix
from modelgif.transferability._spread import Spread

# Means nearer than this share of the largest mean or radius are one point, up to rounding.
_COINCIDENT = 1e-7


class PedWarning(UserWarning):
    """Potential energy descent could not move what it was asked to."""


class PedReport(NamedTuple):
    """What potential energy descent did.

    Attributes:
        n_steps: steps that were kept.
        change_ratios: L1 movement of every computed step over the first; the last of them may
            belong to a discarded step; empty when nothing overlaps.
        n_overlapping: pairs of classes that overlap at the start.
        n_coincident: pairs of classes with one mean, which have no direction to part in.
        n_floored: channels whose general standard deviation was raised to the floor.
    """

    n_steps: int
    change_ratios: tuple[float, ...]
    n_overlapping: int
    n_coincident: int
    n_floored: int


class PedState(NamedTuple):
    """Everything of potential energy descent that its parameters do not change.

    Attributes:
        sample: the checked features and labels.
        scale: floored standard deviation of the general domain, ``[D]``.
        means: rescaled and centred class means, ``[C, D]``.
        radii: radii of the classes, ``[C]``.
        n_floored: channels whose deviation was raised to the floor.
    """

    sample: Sample
    scale: Tensor
    means: Tensor
    radii: Tensor
    n_floored: int

    def moved(self, displacement: Tensor) -> Tensor:
        """Returns the features with class means moved from M to (1 + `displacement`) M."""
        shift = displacement @ self.means * self.scale
        return shift[self.sample.labels].add_(self.sample.features)

    def descend(
        self,
        *,
        n_sigma: float = 0.6,
        dt: float = 0.1,
        k: float = 1.0,
        max_steps: int = 6,
        exit_ratio: float = 0.5,
    ) -> tuple[Tensor, PedReport]:
        """Returns the displacement of the means by the descent of `ped_features`, and its report.

        The displacement is a matrix T ``[C, C]`` whose rows sum to 0: the means M become
        (1 + T) M, in the units of the features as in those of the general domain.

        Raises:
            ValueError: for a negative parameter.
        """
        given = {"n_sigma": n_sigma, "dt": dt, "k": k, "max_steps": max_steps}
        for name, value in {**given, "exit_ratio": exit_ratio}.items():
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, got {value}.")
        reach = n_sigma * (self.radii[:, None] + self.radii)
        reach.fill_diagonal_(0)
        means, inner = self.means, self.means @ self.means.T
        displacement = torch.zeros_like(inner)
        overlapping = coincident = steps = 0
        changes: list[float] = []
        while steps < max_steps:
            distance = _distances(inner)
            least = torch.maximum(inner.diagonal().max().sqrt(), self.radii.max()) * _COINCIDENT
            apart = distance > least
            overlap = ((reach - distance) * apart).clamp(min=0)
            if not changes:
                coincident = (apart.numel() - len(apart) - int(apart.sum())) // 2
                overlapping = int((overlap > 0).sum()) // 2
                _report_stuck(overlapping, coincident)
                if not overlapping:
                    break
            push = torch.where(apart, overlap * min(k * dt**2 / 2, 1.0) / distance, 0)
            # Σ_j push_ij (μ_i − μ_j) for all i: a weighted Laplacian on the means.
            laplacian = torch.diag(push.sum(1)) - push
            shift = laplacian @ means
            changes.append(float(shift.abs().sum()))
            if changes[0] == 0 or changes[-1] <= exit_ratio * changes[0]:
                break
            means = means + shift
            displacement = displacement + laplacian + laplacian @ displacement
            # The inner products of the moved means, (1 + L) G (1 + L)ᵀ, without the means.
            half = inner + laplacian @ inner
            inner = half + half @ laplacian.T
            steps += 1
        ratios = tuple(change / changes[0] if changes[0] else 0.0 for change in changes)
        return displacement, PedReport(steps, ratios, overlapping, coincident, self.n_floored)


def ped_state(
    features: Features, labels: Labels, *, general: Features, floor: float = 1e-2
) -> PedState:
    """Returns what the descents of one model on one data set share.

    Args:
        features: as `ped_features`.
        labels: as `ped_features`.
        general: as `ped_features`.
        floor: as `ped_features`.

    Raises:
        ValueError: as `ped_features`.
    """
    sample = checked(features, labels)
    domain = checked_matrix(general, "general").to(sample.features.device)
    if domain.shape[1] != sample.features.shape[1]:
        raise ValueError(
            f"general has {domain.shape[1]} dimensions and the features "
            f"{sample.features.shape[1]}; take both from one layer of one model."
        )
    if not floor >= 0:
        raise ValueError(f"floor must be at least 0, got {floor}.")
    deviation = domain.std(0, correction=0)
    least = floor * float((deviation**2).mean().sqrt())
    scale = deviation.clamp(min=least)
    if not (scale > 0).all():
        raise ValueError(
            f"{int((scale == 0).sum())} channels of general are constant and floor is {floor}; "
            "take more general data or a floor above 0."
        )
    # The general mean cancels: a descent depends on the differences of class means only.
    spread = Spread.of(sample)
    squares = spread.residual.div_(scale).square_().sum(1, keepdim=True)
    radii = sample._replace(features=squares).class_means().flatten().sqrt()
    rescaled = (spread.means - spread.means.mean(0)) / scale
    return PedState(sample, scale, rescaled, radii, int((deviation < least).sum()))


def _distances(inner: Tensor) -> Tensor:
    """Returns distances ``[C, C]`` from inner products ``[C, C]``, 0 on the diagonal."""
    norms = inner.diagonal()
    return (norms[:, None] + norms - 2 * inner).clamp(min=0).sqrt().fill_diagonal_(0)


def _report_stuck(overlapping: int, coincident: int) -> None:
    if coincident:
        warnings.warn(
            f"{coincident} pairs of class means coincide and are not pushed apart.",
            PedWarning,
            stacklevel=4,
        )
    if not overlapping:
        warnings.warn(
            "no classes overlap that can be pushed apart, so that the features stay as they are; "
            "raise n_sigma to let classes repel each other from farther away.",
            PedWarning,
            stacklevel=4,
        )
