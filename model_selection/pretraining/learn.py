"""The training loop of all kinds of pretraining."""

import math

import torch
from torch import Tensor

from model_selection.pretraining.pretext import Figure, Pretext
from modelgif.experiment.augmentation import crop_and_flip
from modelgif.experiment.seeding import deterministic_convolutions
from modelgif.experiment.training import Trainer, TrainingConfig


def learn(
    pretext: Pretext,
    images: Tensor,
    labels: Tensor,
    config: TrainingConfig,
    *,
    generator: torch.Generator,
) -> float:
    """Trains a pretext in place and returns the mean loss of the last epoch, NaN without any.

    Batches of an epoch differ by one image at most, for a batch of one has nothing to compare.
    The pretext ends in evaluation mode.

    Args:
        pretext: with its network.
        images: ``[N, C, H, W]``, moved to the pretext's device.
        labels: ``[N]``, moved to the pretext's device.
        config: optimiser and schedule.
        generator: CPU generator of everything random.

    Raises:
        RuntimeError: when the loss is no longer finite.
    """
    trainer = Trainer(pretext, len(images), config, generator=generator)
    device = next(pretext.parameters()).device
    images, labels = images.to(device), labels.to(device)
    mean_loss = math.nan
    for epoch in range(config.epochs):
        pretext.train()
        total = torch.zeros((), device=device)
        order = torch.randperm(len(images), generator=generator).to(device)
        for rows in order.tensor_split(math.ceil(len(images) / config.batch_size)):
            part = images[rows]
            if config.augmentation == "crop_and_flip":
                part = crop_and_flip(part, generator=generator)
            with deterministic_convolutions():
                loss = pretext.loss(part, labels[rows], generator=generator)
                trainer.optimizer.zero_grad()
                loss.backward()
            trainer.optimizer.step()
            trainer.schedule.step()
            pretext.after_step()
            total += loss.detach() * len(rows)
        mean_loss = total.item() / len(images)
        if not math.isfinite(mean_loss):
            raise RuntimeError(
                f"the loss is {mean_loss} in epoch {epoch + 1} of pretraining: it diverged; lower "
                f"learning_rate (now {config.learning_rate})."
            )
    pretext.eval()
    return mean_loss


def held_out_figure(
    pretext: Pretext, images: Tensor, labels: Tensor, *, generator: torch.Generator
) -> Figure:
    """Returns the pretext's figure of images it did not learn, in evaluation mode.

    Args:
        pretext: with its network.
        images: ``[M, C, H, W]``.
        labels: ``[M]``.
        generator: CPU generator of everything random.
    """
    device = next(pretext.parameters()).device
    pretext.eval()
    with torch.no_grad():
        return pretext.figure(images.to(device), labels.to(device), generator=generator)
