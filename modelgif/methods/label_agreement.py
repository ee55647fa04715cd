"""Label agreement: the plainest rival of any model distance. Needs labels only.

At references that the victim misclassifies this is AKH, the *Anna Karenina heuristic*: right
answers are all alike, but every model errs in its own way.

Source: Godinot et al., Queries, Representation & Detection: The Next 100 Model Fingerprinting
Schemes, AAAI 2025, for AKH; `modelgif.references.references.misclassified` finds its references.
"""

from torch import Tensor

from modelgif.fields.model import Model
from modelgif.methods._outputs import comparable, outputs
from modelgif.methods.method import Method


def describe(model: Model, references: Tensor, *, batch_size: int = 512) -> Tensor:
    """Returns the predicted classes ``[N]`` of `model` at `references` ``[N, *input_shape]``.

    Of dense outputs ``[N, K, H, W]`` they are ``[N, H, W]``.

    Raises:
        ValueError: for an output that is not finite, naming the reference.
    """
    return outputs(model, references, batch_size=batch_size).argmax(1)


def per_reference(a: Tensor, b: Tensor) -> Tensor:
    """Returns, for each reference, whether the two labels differ, float64 ``[N]``: 0 or 1.

    Raises:
        ValueError: for descriptions at different numbers of references.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.2, 0.8], [0.9, 0.4], [0.6, 0.1], [0.3, 0.5]])
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> per_reference(a, b).tolist()
        [0.0, 1.0, 1.0, 1.0]
    """
    comparable(a, b, "predictions")
    return (a != b).double().flatten(1).mean(1) if a.ndim > 1 else (a != b).double()


def compare(a: Tensor, b: Tensor) -> float:
    """Returns the share of references on which two models predict different classes, in [0, 1].

    Raises:
        ValueError: for descriptions at different numbers of references.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.2, 0.8], [0.9, 0.4], [0.6, 0.1], [0.3, 0.5]])
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> round(compare(a, b), 4)
        0.75
    """
    return per_reference(a, b).mean().item()


METHODS = (
    Method(
        "labels",
        "disagreement of labels; at misclassified references, AKH",
        describe,
        compare,
        per_reference=per_reference,
        access="labels",
        bounds=(0.0, 1.0),
        same_classes=True,
        source="Godinot et al., AAAI 2025",
    ),
)
