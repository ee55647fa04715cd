"""NCTI: how far the features are from the geometry of neural collapse."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from modelgif.transferability._checks import Features, Labels, Sample, checked
from modelgif.transferability._linear import principal_components
from modelgif.transferability._spread import Spread, shrunk
from modelgif.transferability.score import Parts, Score

# Of the published program: components kept, and how many of them set the shrinkage.
_COMPONENTS, _LEADING = 64, 32
_LEAST_SHRINKAGE = 1e-10


class NctiParts(NamedTuple):
    """The three distances to neural collapse; more of the first two is better, less of the last."""

    geometry: float
    separability: float
    variability: float


def ncti(features: Features, labels: Labels) -> float:
    """Returns geometry plus separability less variability, the parts of `ncti_parts` unscaled.

    The published score first scales every part to [0, 1] over the compared models, which one model
    alone does not allow, and unscaled the geometry outweighs the rest: to compare models, prefer
    ``scaled_sum([ncti_parts(...), ...], signs=(1, 1, -1))``.
    Source: Wang et al., How Far Pre-trained Models Are from Neural Collapse, ICCV 2023.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.

    Raises:
        ValueError: as `ncti_parts`.

    Example:
        >>> import torch
        >>> from modelgif.transferability import ncti
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(ncti(features, labels), 3)
        26.537
    """
    parts = ncti_parts(features, labels)
    return parts.geometry + parts.separability - parts.variability


def ncti_parts(features: Features, labels: Labels) -> NctiParts:
    """Returns the parts of NCTI, after reduction to at most 64 principal components.

    - geometry: nuclear norm of the centred features in the Fisher space (SELI)
    - separability: mean probability of the true class (nearest class centre)
    - variability: log of the nuclear norms of the classes' predictions, summed

    Source: as `ncti`, and the authors' program for what the paper leaves open.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.

    Raises:
        ValueError: for features without spread within classes, and as every score for inputs of
            a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import ncti_parts
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(ncti_parts(features, labels).separability, 3)
        0.932
    """
    sample = checked(features, labels)
    reduced, variances = principal_components(sample.features)
    # More components than N − C leave a singular covariance within classes.
    held = int((variances > variances[0] * 1e-12).sum())
    n_components = min(_COMPONENTS, held, len(reduced) - sample.n_classes)
    if n_components < 1:
        raise ValueError(
            f"expected features with spread and more samples than classes, got {len(reduced)} "
            f"samples of {sample.n_classes} classes in {held} directions."
        )
    sample = sample._replace(features=reduced[:, :n_components])
    shrinkage = max(math.exp(-float(variances[:_LEADING].sum())), _LEAST_SHRINKAGE)
    if shrinkage == _LEAST_SHRINKAGE:
        # There the authors' program turns to a solver without shrinkage.
        shrinkage = 0.0
    spread = Spread.of(sample)
    within = spread.covariance()
    posterior = spread.posterior(shrunk(within, shrinkage))
    classes = [posterior[sample.labels == c] for c in range(sample.n_classes)]
    return NctiParts(
        geometry=float(_nuclear_norm(_fisher_space(sample, within, shrinkage))),
        separability=float(posterior.gather(1, sample.labels[:, None]).mean()),
        variability=math.log(float(torch.stack([_nuclear_norm(p) for p in classes]).sum())),
    )


def _fisher_space(sample: Sample, within: Tensor, shrinkage: float) -> Tensor:
    """Returns centred features on the C − 1 leading discriminants, ``[N, min(C − 1, D)]``."""
    centred = sample.features - sample.features.mean(0)
    means = sample.class_means() - sample.features.mean(0)
    between = means.T @ (means * sample.counts[:, None]) / len(centred)
    # Leading eigenvectors of (between, within), both shrunk: L⁻¹ between L⁻ᵀ with within = L Lᵀ.
    factor = torch.linalg.cholesky(shrunk(within, shrinkage))
    half = torch.linalg.solve_triangular(factor, shrunk(between, shrinkage), upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.T, upper=False)
    vectors = torch.linalg.eigh((whitened + whitened.T) / 2).eigenvectors
    leading = vectors.flip(1)[:, : sample.n_classes - 1]
    return centred @ torch.linalg.solve_triangular(factor.T, leading, upper=True)


def _nuclear_norm(matrix: Tensor) -> Tensor:
    return torch.linalg.svdvals(matrix).sum()


SCORES = (
    Score(
        ncti,
        title="NCTI",
        measures="closeness of the features to neural collapse",
        source="Wang et al., How Far Pre-trained Models Are from Neural Collapse, ICCV 2023",
        invariances=frozenset({"class names", "order", "rotation"}),
        parts=Parts(ncti_parts, {"geometry": 1, "separability": 1, "variability": -1}),
    ),
)
