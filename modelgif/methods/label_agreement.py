"""Label agreement: the plainest rival of any model distance. Needs labels only."""

import torch
from torch import Tensor

from modelgif.field import Model, scores


@torch.no_grad()
def describe(model: Model, references: Tensor) -> Tensor:
    """Returns the predicted classes ``[N]`` of `model` at `references` ``[N, *input_shape]``."""
    return scores(model(references), len(references)).argmax(1)


def compare(a: Tensor, b: Tensor) -> float:
    """Returns the share of references on which two models predict different classes, in [0, 1]."""
    return (a != b).double().mean().item()
