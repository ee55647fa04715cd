"""Adversarial training: training on images and on adversarial copies of them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.experiment.augmentation import crop_and_flip
from modelgif.experiment.seeding import deterministic_convolutions
from modelgif.experiment.training import Trainer, TrainingConfig

# Moves images [B, C, H, W] to where a model errs on their labels [B].
Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


def train_adversarially(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    config: TrainingConfig,
    attack: Attack,
    *,
    generator: torch.Generator,
) -> float:
    """Trains `model` in place on every batch together with the adversarial images made from it.

    The attack is repeated at every step, on the current model. All parameters are trained;
    the model ends in evaluation mode.

    Args:
        model: maps ``[B, C, H, W]`` in pixels of [0, 1] to logits ``[B, K]``.
        images: ``[N, C, H, W]``.
        labels: ``[N]``.
        config: optimiser and schedule, in which an image counts once per epoch.
        attack: such as `modelgif.references.adversarial.pgd`; it sees the model in evaluation mode.
        generator: CPU generator of order and augmentation.

    Returns:
        The mean loss of the last epoch, NaN for no epochs.

    Raises:
        ValueError: when no parameter requires a gradient, or there are no images.
        RuntimeError: when the loss is no longer finite.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018;
    the mixture is Goodfellow et al., Explaining and harnessing adversarial examples, ICLR 2015,
    section 6, and SAC's.
    """
    trainer = Trainer(model, len(images), config, generator=generator)
    device = next(iter(trainer.trained.values())).device
    images, labels = images.to(device), labels.to(device)
    mean_loss = math.nan
    for epoch in range(config.epochs):
        total = torch.zeros((), device=device)
        order = torch.randperm(len(images), generator=generator).to(device)
        for rows in order.split(config.batch_size):
            part, truth = images[rows], labels[rows]
            if config.augmentation == "crop_and_flip":
                part = crop_and_flip(part, generator=generator)
            with deterministic_convolutions():
                loss = _step(trainer, part, truth, attack)
            total += loss * len(rows)
        mean_loss = total.item() / len(images)
        if not math.isfinite(mean_loss):
            raise RuntimeError(
                f"the loss is {mean_loss} in epoch {epoch + 1} of adversarial training: it "
                f"diverged; lower learning_rate (now {config.learning_rate})."
            )
    model.eval()
    return mean_loss


def _step(trainer: Trainer, images: Tensor, labels: Tensor, attack: Attack) -> Tensor:
    """Takes one step of the optimiser and returns the loss before it."""
    model = trainer.model
    model.eval()
    adversarial = attack(model, images, labels)
    model.train()
    loss = F.cross_entropy(model(torch.cat([images, adversarial])), labels.repeat(2))
    trainer.optimizer.zero_grad()
    loss.backward()
    trainer.optimizer.step()
    trainer.schedule.step()
    return loss.detach()
