"""PARC: whether features that are alike belong to labels that are alike."""

import numpy as np
import torch
from torch import Tensor

from modelgif.transferability._checks import Features, Labels, checked
from modelgif.transferability._linear import gram, principal_components
from modelgif.transferability.score import Score


def parc(
    features: Features,
    labels: Labels,
    *,
    n_components: int | None = 32,
    exact_ties: bool = False,
    max_samples: int = 15_000,
    seed: int = 0,
) -> float:
    """Returns the Spearman correlation, in percent, of feature and label dissimilarities.

    Dissimilarity is one less the Pearson correlation of two samples, of their features (each
    dimension standardised) or of their one-hot labels. In [−100, 100]. Memory grows with N².

    One-hot labels have two dissimilarities, and so very many ties. The published program computes
    them in floating point, where rounding breaks some ties by the order of the class names; this
    is kept, so that published figures are met, and moves the score by some 0.05 where C is no power
    of two. With `exact_ties` the names of the classes do not matter.
    Source: Bolya et al., Scalable Diverse Model Selection, NeurIPS 2021.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        n_components: principal components to keep, all that exist when fewer; None leaves the
            features whole.
        exact_ties: whether all pairs of different labels tie, and all pairs of equal ones.
        max_samples: more samples than these are reduced to a random choice of so many.
        seed: of that choice.

    Raises:
        ValueError: for a sample whose features are all alike, and as every score for inputs of a
            wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import parc
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(parc(features, labels), 3)
        28.983
    """
    sample = checked(features, labels)
    x, y = sample.features, sample.labels
    if len(y) > max_samples:
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
        chosen = order[:max_samples].to(y.device)
        x, y = x[chosen], y[chosen]
    if n_components is not None:
        x = principal_components(x)[0][:, :n_components]
    spread = x.std(0, correction=0)
    # A constant dimension is zero after centring, and tells nothing either way.
    rows = (x - x.mean(0)) / torch.where(spread > 0, spread, 1)
    rows = rows - rows.mean(1, keepdim=True)
    norms = rows.norm(dim=1, keepdim=True)
    if not (norms > 0).all():
        raise ValueError(
            f"{int((norms == 0).sum())} samples have the same value in every dimension, so that "
            "they correlate with nothing; drop them, or give features of more dimensions."
        )
    correlation = gram((rows / norms).T)
    first, second = torch.triu_indices(len(y), len(y), offset=1, device=y.device)
    ranks = _ranks(-correlation[first, second])
    label_distance = 1 - np.eye(sample.n_classes)
    if not exact_ties:
        label_distance = 1 - np.corrcoef(np.eye(sample.n_classes))
    label_ranks = _ranks(torch.from_numpy(label_distance).to(y.device)[y[first], y[second]])
    return 100 * float(torch.corrcoef(torch.stack([ranks, label_ranks]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    """Returns ranks in float64, ties at their mean rank."""
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2).to(torch.float64)[inverse]


SCORES = (
    Score(
        parc,
        title="PARC",
        measures="rank correlation of feature and label dissimilarities of pairs of samples",
        source="Bolya et al., Scalable Diverse Model Selection, NeurIPS 2021",
        invariances=frozenset({"order", "scale"}),
    ),
)
