"""DDS: CKA of standardised features, with a choice of similarity. Needs features, or scores.

What it adds to CKA is that every dimension of the features counts the same, and the unbiased
estimate. With ``pearson`` and no standardisation it is RSA with an inner product in place of ranks.

Source: Dwivedi et al., Duality Diagram Similarity: A Generic Framework for Initialization Selection
in Task Transfer Learning, ECCV 2020, section 3.
"""

from typing import Literal, get_args

from torch import Tensor

from modelgif.fields.features import penultimate_features
from modelgif.fields.model import Model
from modelgif.methods import cka
from modelgif.methods._outputs import Features, at_least, vectors
from modelgif.methods._similarity import (
    centred,
    cosine_matrix,
    gaussian_matrix,
    laplacian_matrix,
    linear_matrix,
    pearson_matrix,
    standardised,
)
from modelgif.methods.method import Method

Similarity = Literal["cosine", "pearson", "laplacian", "gaussian", "linear"]


def describe(
    model: Model,
    references: Tensor,
    *,
    features: Features | None = None,
    similarity: Similarity = "cosine",
    standardise: bool = True,
    unbiased: bool = True,
    batch_size: int = 512,
) -> Tensor:
    """Returns the centred similarity matrix of `model`'s features, float64 ``[N, N]``.

    The centred matrix of dissimilarities, one minus the similarity, is its negative.

    Args:
        model: gives scores ``[B, ...]``.
        references: ``[N, *input_shape]``, at least four.
        features: gives the features ``[N, D]`` of a model at references, such as
            `modelgif.fields.features.penultimate_features`; None for the scores themselves.
        similarity: of two references: ``cosine`` and ``pearson`` of their features; ``laplacian``,
            ``exp(−‖x − y‖₁ / D)``; ``gaussian``, of half the median distance; ``linear``, the inner
            product. ``cosine`` has the best published correlation with the transfer affinities of
            Taskonomy, 0.862.
        standardise: whether every dimension is brought to mean 0 and standard deviation 1 over
            references.
        unbiased: whether the diagonal is left out.
        batch_size: references per pass of scores.

    Raises:
        ValueError: for fewer than four references, an unknown similarity, or outputs or features
            that are not finite, naming the reference.
        TypeError: for features of something other than a module.
    """
    at_least(references, 4, "because fewer are arranged in one way only")
    rows = vectors(model, references, features, batch_size=batch_size)
    rows = standardised(rows) if standardise else rows
    return centred(_matrix(rows, similarity), unbiased=unbiased)


def compare(a: Tensor, b: Tensor) -> float:
    """Returns one minus the alignment of two models' similarities, in [0, 2], as `cka.compare`.

    Raises:
        ValueError: for descriptions at different numbers of references.

    Warns:
        ZeroCellWarning: for features that are alike at all references.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.2, 0.8], [0.9, 0.4], [0.6, 0.1], [0.3, 0.5]])
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> round(compare(a, b), 4)
        0.219
    """
    return cka.compare(a, b)


def _matrix(rows: Tensor, similarity: Similarity) -> Tensor:
    if similarity == "cosine":
        return cosine_matrix(rows)
    if similarity == "pearson":
        return pearson_matrix(rows)
    if similarity == "laplacian":
        return laplacian_matrix(rows)
    if similarity == "gaussian":
        return gaussian_matrix(rows, bandwidth=0.5)
    if similarity == "linear":
        return linear_matrix(rows)
    raise ValueError(
        f"similarity must be one of {', '.join(get_args(Similarity))}, got {similarity!r}."
    )


METHODS = (
    Method(
        "dds",
        "how standardised features arrange the references, by cosines",
        describe,
        compare,
        access="features",
        bounds=(0.0, 2.0),
        options={"features": penultimate_features},
        source="Dwivedi et al., ECCV 2020",
    ),
)
