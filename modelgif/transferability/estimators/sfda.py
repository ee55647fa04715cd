"""SFDA: class separability in a regularised Fisher space, after mixing uncertain samples."""

import math

import torch
from torch import Tensor

from modelgif.transferability._checks import Features, Labels, checked, saturating
from modelgif.transferability._spread import Spread, shrunk
from modelgif.transferability.score import Score

# Of the published program: e^(−5 λ_max), never below 1e-10.
_SHRINKAGE_RATE, _LEAST_SHRINKAGE = 5.0, 1e-10


def sfda(features: Features, labels: Labels) -> float:
    """Returns the mean probability of the true class under self-challenging Fisher analysis.

    A discriminant with shrunk covariance gives each sample a confidence; samples are mixed, by
    what their confidence lacks, with the mean of the other classes (ConfMix); the discriminant
    of the mixed samples is the score. All Fisher directions together are the inverse of the
    covariance within classes, so one Cholesky factor replaces the generalised eigenvectors.

    In [0, 1] and warns of saturation at 1, where well separated classes are tied. Invariant to
    the names of the classes; to rotations only as far as three power iterations find λ_max.
    Source: Shao et al., Not All Models Are Equal, ECCV 2022.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.

    Raises:
        ValueError: for constant features, and as every score for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import sfda
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(sfda(features, labels), 3)
        0.697
    """
    sample = checked(features, labels)
    spread = Spread.of(sample)
    covariance = spread.covariance()
    shrinkage = fisher_shrinkage(covariance)
    posterior = spread.posterior(shrunk(covariance, shrinkage))
    # A second softmax softens the confidence, so that no sample escapes mixing.
    confidence = torch.softmax(posterior, dim=1).gather(1, sample.labels[:, None])
    others = (spread.means.sum(0) - spread.means) / (sample.n_classes - 1)
    mixed = torch.index_select(others, 0, sample.labels, out=spread.residual)
    spread = Spread.of(sample._replace(features=mixed.lerp_(sample.features, confidence)))
    posterior = spread.posterior(shrunk(spread.covariance(), shrinkage))
    score = float(posterior.gather(1, sample.labels[:, None]).mean())
    return saturating(score, 1.0, "SFDA")


def fisher_shrinkage(covariance: Tensor) -> float:
    """Returns the authors' shrinkage, from three double power iterations for λ_max."""
    x = y = covariance.sum(1)
    for _ in range(3):
        y = torch.nn.functional.normalize(covariance @ x, dim=0)
        x = torch.nn.functional.normalize(covariance @ y, dim=0)
    largest = float(x @ covariance @ y)
    return max(math.exp(-_SHRINKAGE_RATE * largest), _LEAST_SHRINKAGE)


SCORES = (
    Score(
        sfda,
        title="SFDA",
        measures="probability of the true class in a Fisher space, uncertain samples mixed",
        source="Shao et al., Not All Models Are Equal, ECCV 2022",
        invariances=frozenset({"class names", "order"}),
        saturates_at=1.0,
    ),
)
