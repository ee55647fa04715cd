"""Label agreement: the plainest rival of any model distance. Needs labels only."""

import torch
from torch import Tensor

from modelgif.field import Model, frozen
from modelgif.output import scores


def describe(model: Model, references: Tensor) -> Tensor:
    """Returns the predicted classes ``[N]`` of `model` at `references` ``[N, *input_shape]``."""
    with frozen(model), torch.no_grad():
        return scores(model(references), len(references)).argmax(1)


def compare(a: Tensor, b: Tensor) -> float:
    """Returns the share of references on which two models predict different classes, in [0, 1].

    Raises:
        ValueError: for descriptions at unlike numbers of references.
    """
    if a.shape != b.shape:
        raise ValueError(
            "expected predictions at the same references, "
            f"got shapes {list(a.shape)} and {list(b.shape)}."
        )
    return (a != b).double().mean().item()
