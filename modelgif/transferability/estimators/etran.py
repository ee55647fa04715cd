"""ETran: an energy score of the features and a classification score of the labels."""

from typing import Literal, NamedTuple, get_args

import torch

from modelgif.transferability._checks import Features, Labels, checked
from modelgif.transferability._spread import Spread, shrunk
from modelgif.transferability.estimators.sfda import fisher_shrinkage
from modelgif.transferability.score import Parts, Score

Covariance = Literal["identity", "within"]


class EtranParts(NamedTuple):
    """The two parts of ETran for classification; more of both is better."""

    energy: float
    classification: float


def etran(
    features: Features,
    labels: Labels,
    *,
    share: float = 0.005,
    covariance: Covariance = "identity",
) -> float:
    """Returns the sum of ETran's energy and classification scores, unscaled.

    The energy has the units of the features; to compare models, prefer
    ``scaled_sum([etran_parts(...), ...])``, which scales the parts over the compared models.
    Source: Gholami et al., ETran, ICCV 2023, without the score for regression.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        share: as `etran_parts`.
        covariance: as `etran_parts`.

    Raises:
        ValueError: as `etran_parts`.

    Example:
        >>> import torch
        >>> from modelgif.transferability import etran
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(etran(features, labels), 3)
        3.124
    """
    return sum(etran_parts(features, labels, share=share, covariance=covariance))


def etran_parts(
    features: Features,
    labels: Labels,
    *,
    share: float = 0.005,
    covariance: Covariance = "identity",
) -> EtranParts:
    """Returns the parts of ETran.

    - energy: mean of log Σ_d exp(feature_d) over the `share` of samples where it is lowest
    - classification: mean probability of the true class under a Gaussian discriminant

    The paper's discriminant is Fisher's. The authors' program, however, gives a symmetric
    eigensolver a matrix that is not symmetric, whose vectors are orthonormal then, and so computes
    the discriminant of the *identity* covariance: the default, because the published figures are
    its. ``within`` is Fisher's, with the shrinkage of SFDA.

    Source: as `etran`, and the authors' program.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        share: share of the samples, in (0, 1]; at least one sample is taken.
        covariance: ``identity``, as published, or ``within``.

    Raises:
        ValueError: for `share` or `covariance` out of range, and as every score for inputs of a
            wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import etran_parts
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(etran_parts(features, labels).classification, 3)
        0.892
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}.")
    if covariance not in get_args(Covariance):
        raise ValueError(
            f"covariance must be one of {', '.join(get_args(Covariance))}, got {covariance!r}."
        )
    sample = checked(features, labels)
    negative_energy = torch.logsumexp(sample.features, dim=1)
    lowest = negative_energy.topk(max(int(share * len(negative_energy)), 1), largest=False).values
    spread, within = Spread.of(sample), None
    if covariance == "within":
        within = spread.covariance()
        within = shrunk(within, fisher_shrinkage(within))
    posterior = spread.posterior(within)
    truth = posterior.gather(1, sample.labels[:, None])
    return EtranParts(float(lowest.mean()), float(truth.mean()))


SCORES = (
    Score(
        etran,
        title="ETran",
        measures="energy of the features and probability of the true class",
        source="Gholami et al., ETran, ICCV 2023",
        invariances=frozenset({"class names", "order"}),
        parts=Parts(etran_parts, {"energy": 1, "classification": 1}),
    ),
)
