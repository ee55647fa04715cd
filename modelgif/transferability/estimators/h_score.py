"""H-score: how much of the features' variance lies between the classes, whitened."""

import torch
from torch import Tensor

from modelgif.transferability._checks import Features, Labels, Sample, checked, saturating
from modelgif.transferability._linear import gram, principal_components
from modelgif.transferability.score import Score


def h_score(features: Features, labels: Labels) -> float:
    """Returns the trace of the inverse feature covariance times the covariance of class means.

    The inverse is taken in the space the features span. At most min(C − 1, rank): with as many
    dimensions as samples it saturates there whatever the features, and warns. Invariant to
    invertible linear maps of the features.
    Source: Bao et al., An Information-theoretic Approach to Transferability, ICIP 2019.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.

    Raises:
        ValueError: for constant features, and as every score for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import h_score
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(h_score(features, labels), 3)
        1.398
    """
    sample = checked(features, labels)
    components, variances = principal_components(sample.features)
    held = variances > variances[0] * max(sample.features.shape) * torch.finfo(torch.float64).eps
    if not held.any():
        raise ValueError("the features are constant, so that they have no covariance to invert.")
    whitened = components[:, held] / variances[held].sqrt()
    means = sample._replace(features=whitened).class_means()
    score = float((sample.counts[:, None] * means**2).sum() / (len(whitened) - 1))
    bound = min(sample.n_classes - 1, whitened.shape[1])
    return saturating(score, bound, "the H-score", rounding=1e-9 * bound)


def regularised_h_score(features: Features, labels: Labels) -> float:
    """Returns the H-score with the covariance shrunk as Ledoit and Wolf propose.

    Stays informative for D > N, where the plain H-score is constant. Below C − 1; invariant to
    rotations of the features.
    Source: Ibrahim, Ponomareva and Mazumder, Newer is not always better, 2021;
    Ledoit and Wolf, A well-conditioned estimator, 2004.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.

    Raises:
        ValueError: for constant features, and as every score for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import regularised_h_score
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(regularised_h_score(features, labels), 3)
        0.913
    """
    sample = checked(features, labels)
    centred = sample._replace(features=sample.features - sample.features.mean(0))
    covariance, shrinkage = _ledoit_wolf(centred)
    means = centred.class_means()
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise ValueError("the features are constant, so that they have no covariance to invert.")
    whitened = torch.linalg.solve_triangular(factor, means.T, upper=False)
    between = (sample.counts * whitened**2).sum() / (len(sample.labels) - 1)
    return float((1 - shrinkage) * between)


def _ledoit_wolf(sample: Sample) -> tuple[Tensor, float]:
    """Returns the shrunk covariance ``[D, D]`` of centred features, and the shrinkage."""
    x, (n, dimensions) = sample.features, sample.features.shape
    covariance = gram(x) / n
    level = covariance.diagonal().mean()
    dispersion = (covariance**2).sum() - dimensions * level**2
    error = ((x**2).sum(1) ** 2).sum() / n - (covariance**2).sum()
    shrinkage = float((error / n / dispersion).clamp(0, 1)) if dispersion > 0 else 0.0
    result = covariance * (1 - shrinkage)
    result.diagonal().add_(shrinkage * level)
    return result, shrinkage


SCORES = (
    Score(
        h_score,
        title="H-score",
        measures="share of the whitened variance that lies between the classes",
        source="Bao et al., An Information-theoretic Approach to Transferability, ICIP 2019",
        invariances=frozenset({"class names", "order", "rotation", "scale"}),
    ),
    Score(
        regularised_h_score,
        title="regularised H-score",
        measures="the H-score with Ledoit and Wolf's shrunk covariance",
        source="Ibrahim, Ponomareva and Mazumder, Newer is not always better, 2021",
        invariances=frozenset({"class names", "order", "rotation", "scale"}),
    ),
)
