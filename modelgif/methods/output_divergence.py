"""Divergences of two models' predicted probabilities. Needs logits or probabilities.

The plain question of how alike two answers are, with confidence counted and not only the label.

Source: Kullback and Leibler, On Information and Sufficiency, 1951; Lin, Divergence Measures Based
on the Shannon Entropy, IEEE Transactions on Information Theory 37(1), 1991.
"""

import math
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from modelgif.fields.model import Model
from modelgif.methods._outputs import class_scores, comparable
from modelgif.methods.method import Method

Divergence = Literal["jensen_shannon", "kullback_leibler"]
KINDS: tuple[str, ...] = get_args(Divergence)


def describe(model: Model, references: Tensor, *, batch_size: int = 512) -> Tensor:
    """Returns the logarithms of `model`'s probabilities at `references`, float64 ``[N, K]``.

    Args:
        model: gives logits ``[B, K]``. One that gives probabilities is wrapped to give their
            logarithms, of which the softmax is the probabilities again.
        references: ``[N, *input_shape]``.
        batch_size: references per pass.

    Raises:
        ValueError: for outputs that are not a finite ``[N, K]``, naming the reference.
    """
    return F.log_softmax(class_scores(model, references, batch_size=batch_size).double(), 1)


def per_reference(a: Tensor, b: Tensor, *, kind: Divergence = "jensen_shannon") -> Tensor:
    """Returns the contribution of each reference to `compare`, ``[N]``, whose mean it is.

    Raises:
        ValueError: as `compare`.
    """
    comparable(a, b, "probabilities of the same classes")
    if kind == "kullback_leibler":
        return _from(a, b)
    if kind == "jensen_shannon":
        return (_from_middle(a, b - a) + _from_middle(b, a - b)).div(2).clamp(0, math.log(2))
    raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")


def compare(a: Tensor, b: Tensor, *, kind: Divergence = "jensen_shannon") -> float:
    """Returns the mean over references of the divergence of two models' probabilities, in nats.

    - ``jensen_shannon``: ``½ KL(p‖m) + ½ KL(q‖m)`` with ``m = ½ (p + q)``; symmetric, in [0, log 2]
    - ``kullback_leibler``: ``KL(p‖q) = Σ p log(p/q)`` of the first from the second; not symmetric,
      not bounded

    Raises:
        ValueError: for descriptions at different references or of different numbers of classes, or
            an unknown kind.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.2, 0.8], [0.9, 0.4], [0.6, 0.1], [0.3, 0.5]])
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> round(compare(a, b), 4)
        0.0357
    """
    return per_reference(a, b, kind=kind).mean().item()


def _from(a: Tensor, b: Tensor) -> Tensor:
    return (a.exp() * (a - b)).sum(1).clamp(min=0)


def _from_middle(a: Tensor, difference: Tensor) -> Tensor:
    # log(p/m) = -log(1 + (q/p - 1)/2), which is exactly 0 where p = q. Beyond e^700 the ratio is
    # cut, which p makes invisible.
    return -(a.exp() * torch.log1p(torch.expm1(difference.clamp(max=700)) / 2)).sum(1)


METHODS = (
    Method(
        "jsd",
        "Jensen–Shannon divergence of the predicted probabilities",
        describe,
        compare,
        per_reference=per_reference,
        access="scores",
        bounds=(0.0, math.log(2)),
        same_classes=True,
        source="Lin, IEEE Transactions on Information Theory 1991",
    ),
    Method(
        "kl",
        "Kullback–Leibler divergence of the predicted probabilities, KL(victim‖suspect)",
        describe,
        partial(compare, kind="kullback_leibler"),
        per_reference=partial(per_reference, kind="kullback_leibler"),
        access="scores",
        bounds=(0.0, math.inf),
        symmetric=False,
        same_classes=True,
        source="Kullback and Leibler, 1951",
    ),
)
