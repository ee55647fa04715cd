"""GBC: how much the classes, taken as Gaussians, overlap."""

from typing import Literal, get_args

import torch
from torch import Tensor

from modelgif.transferability._checks import Features, Labels, checked
from modelgif.transferability._linear import principal_components
from modelgif.transferability.score import Score

Covariance = Literal["spherical", "diagonal"]


def gbc(
    features: Features,
    labels: Labels,
    *,
    covariance: Covariance = "spherical",
    n_components: int | None = 64,
    least_variance: float = 1e-4,
) -> float:
    """Returns minus the Bhattacharyya coefficients of all ordered pairs of classes, summed.

    In (−C(C − 1), 0). Invariant to the names of the classes and, when spherical, to rotations of
    the features but for the floor of the variance. The published program's spherical
    log-variance term is counted once and not D times; it is kept so.
    Source: Pándy et al., Transferability Estimation using Bhattacharyya Class Separability,
    CVPR 2022.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        covariance: ``spherical``, one variance per class, or ``diagonal``, one per dimension.
        n_components: principal components to keep, all that exist when fewer; None for the
            features as they are.
        least_variance: floor of the variance of a class in a dimension.

    Raises:
        ValueError: for an unknown covariance, and as every score for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import gbc
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(gbc(features, labels), 3)
        -1.534
    """
    if covariance not in get_args(Covariance):
        raise ValueError(
            f"covariance must be one of {', '.join(get_args(Covariance))}, got {covariance!r}."
        )
    sample = checked(features, labels)
    if n_components is not None:
        reduced, _ = principal_components(sample.features)
        sample = sample._replace(features=reduced[:, :n_components])
    means = sample.class_means()
    squares = (sample.features - means[sample.labels]) ** 2
    variances = sample._replace(features=squares).class_means().clamp(min=least_variance)
    if covariance == "spherical":
        variances = variances.mean(1, keepdim=True)
    rows = [_coefficients(means, variances, c) for c in range(sample.n_classes)]
    return -float(torch.stack(rows).sum())


def _coefficients(means: Tensor, variances: Tensor, c: int) -> Tensor:
    """Returns exp(−D_B) of class `c` with every class, ``[C]``, and 0 with itself."""
    average = (variances[c] + variances) / 2
    distance = ((means[c] - means) ** 2 / average).sum(1) / 8
    logs = average.log() - (variances[c].log() + variances.log()) / 2
    coefficient = torch.exp(-distance - logs.sum(1) / 2)
    coefficient[c] = 0
    return coefficient


SCORES = (
    Score(
        gbc,
        title="GBC",
        measures="overlap of the classes as Gaussians (Bhattacharyya)",
        source="Pándy et al., Transferability Estimation using Bhattacharyya Class "
        "Separability, CVPR 2022",
        invariances=frozenset({"class names", "order", "rotation"}),
    ),
)
