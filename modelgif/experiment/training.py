"""A plain training loop, which may be interrupted after any epoch and ends in the same bits."""

import copy
import io
import math
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.experiment.augmentation import crop_and_flip
from modelgif.experiment.config import Config
from modelgif.experiment.seeding import deterministic_convolutions
from modelgif.loading.torch_file import read_pickled
from modelgif.storage.atomic import whole_file


class TrainingConfig(Config):
    """How to train: optimiser and schedule; the learning rate changes with every batch.

    Attributes:
        epochs: how often every image is trained on.
        batch_size: images per step of the optimiser.
        optimizer: stochastic gradient descent, or Adam with decoupled weight decay.
        learning_rate: at the beginning.
        momentum: of sgd.
        weight_decay: of either optimiser.
        schedule: of the learning rate: unchanged, falling to zero along half a cosine, or
            multiplied by `factor` after each epoch of `milestones`.
        milestones: epochs after which the schedule multistep lowers the learning rate.
        factor: by which it does.
        augmentation: none, or random shifts and flips of every image.
    """

    epochs: NonNegativeInt
    batch_size: PositiveInt = 64
    optimizer: Literal["sgd", "adamw"] = "adamw"
    learning_rate: PositiveFloat
    momentum: NonNegativeFloat = 0.9
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine", "multistep"] = "cosine"
    milestones: tuple[PositiveInt, ...] = ()
    factor: PositiveFloat = 0.1
    augmentation: Literal["none", "crop_and_flip"] = "none"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.schedule == "multistep") != bool(self.milestones):
            raise ValueError("milestones belong to the schedule multistep, which needs them")
        return self


# Of a batch's outputs and targets: a scalar, whatever their shapes.
Loss = Callable[[Tensor, Tensor], Tensor]


class Trainer:
    """Trains a model in place, by cross-entropy or another loss, one epoch at a time.

    Only parameters that require a gradient are trained, and a BatchNorm whose weights are frozen
    keeps its statistics, too.

    Args:
        model: maps ``[B, C, H, W]`` to logits ``[B, K]``, or to what `loss` takes.
        n_images: number of images per epoch, for the schedule.
        config: optimiser and schedule.
        generator: CPU generator of everything random: order and augmentation.
        loss: of a batch's outputs and targets, a mean over the batch. One that draws random numbers
            takes them from `generator`, so that an interrupted training continues to the same bits.

    Attributes:
        epochs_done: epochs so far, those before a `restore` included.

    Raises:
        ValueError: when no parameter requires a gradient, or there are no images.
    """

    def __init__(
        self,
        model: nn.Module,
        n_images: int,
        config: TrainingConfig,
        *,
        generator: torch.Generator,
        loss: Loss = F.cross_entropy,
    ) -> None:
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.trained or not n_images:
            raise ValueError(
                f"nothing to train: {len(self.trained)} trainable parameters, {n_images} images."
            )
        self.model, self.config, self.generator, self.loss = model, config, generator, loss
        self.optimizer = _optimizer(list(self.trained.values()), config)
        batches_per_epoch = math.ceil(n_images / config.batch_size)
        self.schedule = _schedule(self.optimizer, config, batches_per_epoch)
        self.epochs_done = 0

    def epoch(
        self,
        images: Tensor,
        targets: Tensor,
        *,
        ascend: bool = False,
        mask: Mapping[str, Tensor] | None = None,
    ) -> float:
        """Trains on each image once and returns the mean loss; the model ends in evaluation mode.

        Args:
            images: ``[N, C, H, W]``, on the model's device.
            targets: labels ``[N]``, or probabilities ``[N, K]`` for distillation, or what the loss
                takes, on the model's device.
            ascend: whether to raise the loss, not lower it.
            mask: for each parameter, which of its entries may change; by default all may.

        Raises:
            RuntimeError: when the loss is no longer finite.
        """
        kept = {n: p.detach().clone() for n, p in self.trained.items()} if mask else {}
        _training_mode(self.model)
        total = torch.zeros((), device=images.device)
        order = torch.randperm(len(images), generator=self.generator).to(images.device)
        with deterministic_convolutions():
            for batch in order.split(self.config.batch_size):
                part = images[batch]
                if self.config.augmentation == "crop_and_flip":
                    part = crop_and_flip(part, generator=self.generator)
                loss = self.loss(self.model(part), targets[batch])
                self.optimizer.zero_grad()
                (-loss if ascend else loss).backward()
                self.optimizer.step()
                self.schedule.step()
                if mask:
                    with torch.no_grad():
                        for name, parameter in self.trained.items():
                            parameter.copy_(parameter.where(mask[name], kept[name]))
                total += loss.detach() * len(batch)
        self.model.eval()
        self.epochs_done += 1
        mean_loss = total.item() / len(images)
        if not math.isfinite(mean_loss):
            raise RuntimeError(
                f"the loss is {mean_loss} in epoch {self.epochs_done}: training diverged; "
                f"lower learning_rate (now {self.config.learning_rate})."
            )
        return mean_loss

    def snapshot(self) -> dict[str, Any]:
        """Returns a copy of all that the next epochs depend on, as tensors and plain values."""
        # The milestones are the configuration's, and the only entry that is not plain.
        schedule = {k: v for k, v in self.schedule.state_dict().items() if k != "milestones"}
        state = {
            "weights": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "schedule": schedule,
            "generator": self.generator.get_state(),
            "epochs_done": self.epochs_done,
        }
        return copy.deepcopy(state)

    def inherit(self, snapshot: Mapping[str, Any]) -> None:
        """Takes weights, optimiser and schedule from another training, and begins at epoch 0."""
        self.model.load_state_dict(snapshot["weights"])
        self.optimizer.load_state_dict(snapshot["optimizer"])
        self.schedule.load_state_dict(snapshot["schedule"])

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Returns to the state of `snapshot`: what follows is the same to the bit."""
        self.inherit(snapshot)
        self.generator.set_state(snapshot["generator"])
        self.epochs_done = snapshot["epochs_done"]


def train(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    config: TrainingConfig,
    *,
    generator: torch.Generator,
) -> float:
    """Trains `model` in place, see `Trainer`, and returns the mean loss of the last epoch.

    The model ends in evaluation mode. Images and targets are moved to the model's device once.

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
    trainer = Trainer(model, len(images), config, generator=generator)
    device = next(iter(trainer.trained.values())).device
    images, targets = images.to(device), targets.to(device)
    mean_loss = math.nan
    for _ in range(config.epochs):
        mean_loss = trainer.epoch(images, targets)
    model.eval()
    return mean_loss


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, batch_size: int = 512) -> Tensor:
    """Returns the logits ``[N, K]`` of `images` on the CPU, in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).cpu() for part in images.split(batch_size)])


def write_snapshot(path: str | os.PathLike[str], snapshot: Mapping[str, Any]) -> None:
    """Writes a snapshot of a `Trainer` to `path`, whole or not at all."""
    content = io.BytesIO()
    torch.save(dict(snapshot), content)
    with whole_file(path) as part:
        # Not by torch's own writer of files, which says nothing of a full disk.
        part.write_bytes(content.getbuffer())


def read_snapshot(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the snapshot at `path`, on the CPU; nothing in the file is run.

    Raises:
        ValueError: for a damaged file.
    """
    try:
        return read_pickled(Path(path))
    except (ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is not a valid snapshot ({str(error)[:200]}): move it away, and the training "
            "starts again from the beginning."
        ) from error


def _training_mode(model: nn.Module) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(any(p.requires_grad for p in module.parameters()))


def _optimizer(parameters: Sequence[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)


def _schedule(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, batches_per_epoch: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == "cosine":
        n_steps = max(1, config.epochs * batches_per_epoch)
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=n_steps)
    if config.schedule == "multistep":
        milestones = [epoch * batches_per_epoch for epoch in config.milestones]
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=config.factor)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
