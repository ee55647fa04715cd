"""RSA: whether two models order pairs of references alike. Needs features, or scores.

Source: Dwivedi and Roig, Representation Similarity Analysis for Efficient Task Taxonomy & Transfer
Learning, CVPR 2019, section 3.
"""

import scipy.stats
import torch
from torch import Tensor

from modelgif.distances.distance import distance
from modelgif.fields.features import penultimate_features
from modelgif.fields.model import Model
from modelgif.methods._outputs import Features, at_least, comparable, vectors
from modelgif.methods._similarity import pearson_matrix
from modelgif.methods.method import Method


def describe(
    model: Model,
    references: Tensor,
    *,
    features: Features | None = None,
    batch_size: int = 512,
) -> Tensor:
    """Returns the centred ranks of the dissimilarities of all pairs, float64 ``[N(N-1)/2]``.

    The dissimilarity of two references is one minus the Pearson correlation of their features. One
    whose features are all alike correlates by 1 with another such and by 0 with any other.
    Differences below 1e-12 are rounding, and count as ties.

    Args:
        model: gives scores ``[B, ...]``.
        references: ``[N, *input_shape]``, at least three.
        features: gives the features ``[N, D]`` of a model at references, such as
            `modelgif.fields.features.penultimate_features`; None for the scores themselves.
        batch_size: references per pass of scores.

    Raises:
        ValueError: for fewer than three references, or outputs or features that are not finite,
            naming the reference.
        TypeError: for features of something other than a module.
    """
    at_least(references, 3, "because two make one pair, and one pair no order")
    rows = vectors(model, references, features, batch_size=batch_size)
    return centred_ranks(upper(1 - pearson_matrix(rows)))


def compare(a: Tensor, b: Tensor) -> float:
    """Returns one minus the Spearman correlation of two models' dissimilarities, in [0, 2].

    The same whatever the order of either model's features. A model all of whose pairs are tied
    orders nothing: at distance 0 of another such, and 1 of any other.

    Raises:
        ValueError: for descriptions at different numbers of references.

    Warns:
        ZeroCellWarning: for a model all of whose pairs are tied.

    Example:
        >>> import torch
        >>> x = torch.rand(6, 3, generator=torch.Generator().manual_seed(0))
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0, 1.0])), torch.ones(3, 3).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> round(compare(a, b), 4)
        0.5964
    """
    comparable(a, b, "dissimilarities")
    # The Pearson correlation of ranks is the cosine of centred ranks.
    return distance(a[None, None], b[None, None])


def upper(matrix: Tensor) -> Tensor:
    """Returns the entries above the diagonal of a matrix ``[N, N]``, ``[N(N-1)/2]``."""
    first, second = torch.triu_indices(len(matrix), len(matrix), offset=1, device=matrix.device)
    return matrix[first, second]


def centred_ranks(values: Tensor) -> Tensor:
    """Returns the ranks of `values` ``[P]`` less their mean, in float64, ties at one rank."""
    rounded = values.double().round(decimals=12)
    ranks = torch.from_numpy(scipy.stats.rankdata(rounded.cpu().numpy())).to(values.device)
    return ranks - (len(ranks) + 1) / 2


METHODS = (
    Method(
        "rsa",
        "how features order pairs of references",
        describe,
        compare,
        access="features",
        bounds=(0.0, 2.0),
        options={"features": penultimate_features},
        source="Dwivedi and Roig, CVPR 2019",
    ),
)
