"""TransRate: the mutual information of features and labels, by coding rates."""

import torch
from torch import Tensor

from modelgif.transferability._checks import Features, Labels, checked
from modelgif.transferability._linear import gram
from modelgif.transferability.score import Score


def transrate(features: Features, labels: Labels, *, epsilon: float = 1e-4) -> float:
    """Returns the coding rate, in nats, of all features less the mean rate within the classes.

    Classes weigh alike, as in the authors' program. Not bounded; grows with the scale of the
    features; invariant to their rotation.
    Source: Huang et al., Frustratingly Easy Transferability Estimation, ICML 2022.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        epsilon: squared distortion of the code.

    Raises:
        ValueError: for an `epsilon` not above 0, and as every score for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import transrate
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(transrate(features, labels), 3)
        1.135
    """
    sample = checked(features, labels)
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}.")
    x = sample.features - sample.features.mean(0)
    within = [_coding_rate(x[sample.labels == c], epsilon) for c in range(sample.n_classes)]
    return float(_coding_rate(x, epsilon) - torch.stack(within).mean())


def _coding_rate(x: Tensor, epsilon: float) -> Tensor:
    # R(X) = ½ log det(I + XᵀX / (N ε)); XXᵀ has the same determinant and may be smaller.
    smaller = gram(x if x.shape[1] <= x.shape[0] else x.T) / (len(x) * epsilon)
    smaller.diagonal().add_(1)
    return torch.linalg.cholesky(smaller).diagonal().log().sum()


SCORES = (
    Score(
        transrate,
        title="TransRate",
        measures="mutual information of features and labels, by coding rates",
        source="Huang et al., Frustratingly Easy Transferability Estimation, ICML 2022",
        invariances=frozenset({"class names", "order", "rotation"}),
    ),
)
