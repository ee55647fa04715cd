"""k nearest neighbours: the plainest baseline among the transferability scores."""

from typing import Literal, get_args

import torch

from modelgif.transferability._checks import Features, Labels, checked, saturating
from modelgif.transferability.score import Score

Metric = Literal["cosine", "euclidean"]

# Float64 similarities held at once: 256 MiB.
_BLOCK_NUMBERS = 2**25


def knn(
    features: Features,
    labels: Labels,
    *,
    n_neighbours: int = 5,
    metric: Metric = "cosine",
) -> float:
    """Returns the leave-one-out accuracy of a vote among the nearest neighbours.

    A tied vote goes to the class with the nearer neighbours. In [0, 1] and warns of saturation.
    Invariant to rotations and to the scale of the features. Compare Renggli et al., Which Model
    to Transfer?, CVPR 2022, where one neighbour rivals every score.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        n_neighbours: voters, at most N − 1 and 40.
        metric: ``cosine`` or ``euclidean``; a zero vector is equally unlike all by cosine.

    Raises:
        ValueError: for `n_neighbours` or `metric` out of range, and as every score for inputs of a
            wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import knn
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(knn(features, labels), 3)
        0.933
    """
    if metric not in get_args(Metric):
        raise ValueError(f"metric must be one of {', '.join(get_args(Metric))}, got {metric!r}.")
    sample = checked(features, labels)
    x, y, n = sample.features, sample.labels, len(sample.labels)
    # 40 voters' tie-breaking weights are the most that float64 adds exactly beside their votes.
    if not 1 <= n_neighbours <= min(n - 1, 40):
        raise ValueError(f"n_neighbours must lie in 1 .. {min(n - 1, 40)}, got {n_neighbours}.")
    x = torch.nn.functional.normalize(x) if metric == "cosine" else x - x.mean(0)
    # Nearness up to terms that all candidates share: ⟨a, b⟩ − ‖b‖² / 2.
    offset = -(x**2).sum(1) / 2 if metric == "euclidean" else x.new_zeros(n)
    # Powers of two: nearer voters outweigh all farther ones, and together never make a vote.
    votes = 1 + 0.5 ** torch.arange(2, n_neighbours + 2, dtype=x.dtype, device=x.device)
    correct = 0
    for rows in torch.arange(n, device=x.device).split(max(_BLOCK_NUMBERS // n, 1)):
        nearness = x[rows] @ x.T + offset
        nearness[torch.arange(len(rows), device=x.device), rows] = -torch.inf
        nearest = y[nearness.topk(n_neighbours).indices]
        tally = x.new_zeros(len(rows), sample.n_classes)
        tally.scatter_add_(1, nearest, votes.expand(len(rows), -1))
        correct += int((tally.argmax(1) == y[rows]).sum())
    return saturating(correct / n, 1.0, "the nearest-neighbour accuracy")


SCORES = (
    Score(
        knn,
        title="nearest neighbours",
        measures="leave-one-out accuracy of the five nearest neighbours",
        source="Renggli et al., Which Model to Transfer?, CVPR 2022",
        invariances=frozenset({"class names", "order", "rotation", "scale"}),
        saturates_at=1.0,
    ),
)
