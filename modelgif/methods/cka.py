"""CKA: how alike two models' features arrange the references. Needs features, or scores.

The same whatever the order, rotation or scale of either model's features, so that models of
different widths and label sets can be compared.

Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019,
section 3.
"""

from typing import Literal, get_args

from torch import Tensor

from modelgif.distances.distance import distance
from modelgif.fields.features import penultimate_features
from modelgif.fields.model import Model
from modelgif.methods._outputs import Features, at_least, comparable, vectors
from modelgif.methods._similarity import centred, gaussian_matrix, linear_matrix
from modelgif.methods.method import Method

Kernel = Literal["linear", "gaussian"]


def describe(
    model: Model,
    references: Tensor,
    *,
    features: Features | None = None,
    kernel: Kernel = "linear",
    bandwidth: float = 0.8,
    unbiased: bool = False,
    batch_size: int = 512,
) -> Tensor:
    """Returns the centred kernel matrix of `model`'s features, float64 ``[N, N]``.

    Args:
        model: gives scores ``[B, ...]``.
        references: ``[N, *input_shape]``, at least four.
        features: gives the features ``[N, D]`` of a model at references, such as
            `modelgif.fields.features.penultimate_features`; None for the scores themselves.
        kernel: ``linear``, or ``gaussian``.
        bandwidth: of the Gaussian kernel, as a share of the median distance.
        unbiased: whether the diagonal is left out. The plain estimate, which is the paper's, is
            above 0 for independent features, by more the fewer references a feature has.
        batch_size: references per pass of scores.

    Raises:
        ValueError: for fewer than four references, an unknown kernel, a bandwidth that is not
            positive, or outputs or features that are not finite, naming the reference.
        TypeError: for features of something other than a module.
    """
    if kernel not in get_args(Kernel) or not bandwidth > 0:
        raise ValueError(
            f"expected a kernel out of {', '.join(get_args(Kernel))} and a positive bandwidth, got "
            f"{kernel!r} and {bandwidth}."
        )
    at_least(references, 4, "because fewer are arranged in one way only")
    rows = vectors(model, references, features, batch_size=batch_size)
    # The same for centred features, but without the rounding of their mean.
    rows = rows - rows.mean(0)
    if kernel == "linear":
        return centred(linear_matrix(rows), unbiased=unbiased)
    return centred(gaussian_matrix(rows, bandwidth=bandwidth), unbiased=unbiased)


def compare(a: Tensor, b: Tensor) -> float:
    """Returns one minus the centred kernel alignment of two models, in [0, 1]; unbiased, [0, 2].

    Features that are alike at all references arrange nothing: two such models are at distance 0,
    one of them and any other at 1.

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
        0.142
    """
    comparable(a, b, "kernel matrices")
    return distance(a.reshape(1, 1, -1), b.reshape(1, 1, -1))


METHODS = (
    Method(
        "cka",
        "how features arrange the references, by inner products",
        describe,
        compare,
        access="features",
        bounds=(0.0, 1.0),
        options={"features": penultimate_features},
        source="Kornblith et al., ICML 2019",
    ),
)
