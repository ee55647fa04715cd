"""A plain training loop."""

import math
from typing import Literal

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.experiment.config import Config


class TrainingConfig(Config):
    """How to train: optimiser and schedule, one learning-rate step a batch."""

    epochs: NonNegativeInt
    batch_size: PositiveInt = 64
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: PositiveFloat
    momentum: NonNegativeFloat = 0.9
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine"] = "cosine"


def train(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    config: TrainingConfig,
    *,
    generator: torch.Generator,
) -> float:
    """Trains `model` in place by cross-entropy and returns the mean loss of the last epoch.

    Only parameters that require a gradient are trained, and a BatchNorm whose weights are frozen
    keeps its statistics, too. The model ends in evaluation mode. Images
    and targets are moved to the model's device once.

    Args:
        model: maps ``[B, C, H, W]`` to logits ``[B, K]``.
        images: ``[N, C, H, W]``.
        targets: labels ``[N]``, or probabilities ``[N, K]`` for distillation.
        config: optimiser and schedule.
        generator: CPU generator of the order of the images.

    Raises:
        ValueError: when no parameter requires a gradient, or there are no images.
        RuntimeError: when the loss is no longer finite.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters or not len(images):
        raise ValueError(
            f"nothing to train: {len(parameters)} trainable parameters, {len(images)} images."
        )
    images, targets = images.to(parameters[0].device), targets.to(parameters[0].device)
    optimizer = _optimizer(parameters, config)
    batches_per_epoch = math.ceil(len(images) / config.batch_size)
    schedule = _schedule(optimizer, config, config.epochs * batches_per_epoch)
    mean_loss = math.nan
    for epoch in range(config.epochs):
        _training_mode(model)
        total = torch.zeros((), device=images.device)
        order = torch.randperm(len(images), generator=generator).to(images.device)
        for batch in order.split(config.batch_size):
            loss = F.cross_entropy(model(images[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(batch)
        mean_loss = total.item() / len(images)
        if not math.isfinite(mean_loss):
            raise RuntimeError(
                f"the loss is {mean_loss} in epoch {epoch + 1}: training diverged; "
                f"lower learning_rate (now {config.learning_rate})."
            )
    model.eval()
    return mean_loss


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, batch_size: int = 512) -> Tensor:
    """Returns the logits ``[N, K]`` of `images` on the CPU, in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).cpu() for part in images.split(batch_size)])


def _training_mode(model: nn.Module) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(any(p.requires_grad for p in module.parameters()))


def _optimizer(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)


def _schedule(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, n_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, n_steps))
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
