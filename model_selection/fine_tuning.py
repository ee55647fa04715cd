"""Fine-tuning one model on one task: the whole backbone, with a new linear layer on top."""

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.experiment.backbone import feature_count
from modelgif.experiment.training import TrainingConfig, predict, train

# The new layer starts so small that the first steps do not damage the backbone.
_HEAD_SPREAD = 0.01


class Trial(NamedTuple):
    """One setting of the sweep.

    Attributes:
        learning_rate: of the whole model.
        weight_decay: of the optimiser.
        validation_accuracy: of images that were not trained on; None when training diverged.
        validation_loss: mean cross-entropy of the same images, which decides between equals.
    """

    learning_rate: float
    weight_decay: float
    validation_accuracy: float | None
    validation_loss: float | None


def fine_tuned(
    backbone: nn.Module,
    images: Tensor,
    labels: Tensor,
    n_classes: int,
    training: TrainingConfig,
    *,
    generator: torch.Generator,
) -> nn.Module | None:
    """Returns a trained copy of `backbone` with a linear layer on top, None when it diverged.

    Args:
        backbone: gives features ``[B, D]``; left unchanged.
        images: ``[N, C, H, W]``.
        labels: ``[N]``.
        n_classes: of the task.
        training: how to train; every weight is trained.
        generator: CPU generator of the new layer, of order and augmentation.
    """
    device = next(backbone.parameters()).device
    head = nn.Linear(feature_count(backbone, images[0]), n_classes)
    nn.init.normal_(head.weight, std=_HEAD_SPREAD, generator=generator)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(copy.deepcopy(backbone), head.to(device)).requires_grad_(True)
    try:
        train(model, images, labels, training, generator=generator)
    except RuntimeError as error:
        if "diverged" not in str(error):
            raise
        return None
    return model


def trial(
    model: nn.Module | None, setting: tuple[float, float], images: Tensor, labels: Tensor
) -> Trial:
    """Returns how a model trained with `setting` does on validation images."""
    if model is None:
        return Trial(*setting, None, None)
    logits = predict(model, images)
    loss = F.cross_entropy(logits.double(), labels).item()
    return Trial(*setting, accuracy(logits, labels), loss if math.isfinite(loss) else None)


def best(trials: Sequence[Trial]) -> int:
    """Returns the position of the highest validation accuracy; of equals, the lowest loss.

    Raises:
        ValueError: when training diverged with every setting.
    """
    known = [i for i, t in enumerate(trials) if t.validation_accuracy is not None]
    if not known:
        raise ValueError(
            "training diverged with every setting of the sweep: lower finetune.learning_rates."
        )

    def rank(i: int) -> tuple[float, float]:
        loss = trials[i].validation_loss
        return -(trials[i].validation_accuracy or 0.0), math.inf if loss is None else loss

    return min(known, key=rank)


def accuracy(logits: Tensor, labels: Tensor, *, per_class: bool = False) -> float:
    """Returns the share of correct predictions, or with `per_class` its mean over the classes.

    Args:
        logits: ``[N, K]``.
        labels: ``[N]``.
        per_class: whether every class that occurs counts the same.
    """
    correct = (logits.argmax(1) == labels).double()
    if per_class:
        return float(torch.stack([correct[labels == c].mean() for c in labels.unique()]).mean())
    return correct.mean().item()
