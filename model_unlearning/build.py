"""Builds the models of the zoo: how each is trained, an epoch at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model_unlearning.config import ApproximateConfig, SalUnConfig, UnlearningConfig
from model_unlearning.split import Split
from model_unlearning.zoo import UnlearningModel, method_of
from modelgif.experiment.seeding import derive_seed, seeded_generator
from modelgif.experiment.training import Trainer, TrainingConfig
from modelgif.experiment.untrained import untrained


@dataclass(frozen=True, eq=False)
class TrainingInProgress:
    """A training in progress: who learns, what, and in which direction.

    Attributes:
        trainer: holds the model and all that changes from epoch to epoch.
        images: what is shown, on the model's device.
        labels: the true ones, on the model's device.
        relabelled: which images get a fresh wrong label at every draw, ``[N]`` of bool.
        ascend: whether the loss is to rise.
        mask: which weights may change; None for all.
    """

    trainer: Trainer
    images: Tensor
    labels: Tensor
    relabelled: Tensor
    ascend: bool = False
    mask: Mapping[str, Tensor] | None = None

    def epoch(self, n_classes: int) -> None:
        """Trains on each image once."""
        targets = self.labels
        if self.relabelled.any():
            wrong = other_labels(targets.cpu(), n_classes, generator=self.trainer.generator)
            targets = wrong.to(targets.device).where(self.relabelled, targets)
        self.trainer.epoch(self.images, targets, ascend=self.ascend, mask=self.mask)


@dataclass(frozen=True, eq=False)
class TrainingBuilder:
    """Begins the training of models: from settings, images, and on a device."""

    config: UnlearningConfig
    split: Split
    device: torch.device

    def begin(
        self, member: UnlearningModel, parent: Mapping[str, Any] | None
    ) -> TrainingInProgress:
        """Returns the training of `member` before its first epoch.

        Args:
            member: what is to be made.
            parent: last snapshot of the model it starts from; None when it has no parent.
        """
        method = method_of(self.config, member)
        training = getattr(method, "training", self.config.training)
        shown = self._shown(member)
        seed = derive_seed(self.config.seed, member.seed, "weights")
        normalised_by = self.split.data.train_images
        model: nn.Module = untrained(
            self._architecture(), normalised_by, seed=seed, device=self.device
        )
        generator = seeded_generator(self.config.seed, member.name, "draws")
        trainer = Trainer(model, int(shown.sum()), training, generator=generator)
        if parent is not None:
            model.load_state_dict(parent["weights"])
        if parent is not None and isinstance(method, ApproximateConfig):
            trainer.inherit(parent)
        images, labels = self._on_device(shown)
        relabelled = self.split.forgotten[shown] & (member.kind in ("approximate", "salun"))
        mask = None
        if isinstance(method, SalUnConfig):
            forgotten = self._on_device(self.split.forgotten)
            mask = salient_weights(model, *forgotten, training, share=method.saliency)
        ascend = member.kind == "gradient_ascent"
        return TrainingInProgress(trainer, images, labels, relabelled.to(self.device), ascend, mask)

    def card(self, member: UnlearningModel) -> dict[str, object]:
        """Returns what the checkpoints of a member say of its making."""
        return {
            "architecture": self._architecture(),
            "kind": member.kind,
            "parent": member.parent,
            "replicate": member.replicate,
            "seed": member.seed,
            "data": self.split.data.name,
            "forget": self.config.forget.model_dump(),
        }

    def _shown(self, member: UnlearningModel) -> Tensor:
        """Which training images a member is trained on, ``[N]`` of bool."""
        if member.kind == "gradient_ascent":
            return self.split.forgotten
        if member.kind in ("direct", "finetune"):
            return ~self.split.forgotten
        return torch.ones_like(self.split.forgotten)

    def _on_device(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        data = self.split.data
        return data.train_images[rows].to(self.device), data.train_labels[rows].to(self.device)

    def _architecture(self) -> str:
        network, data = self.config.network, self.split.data
        return (
            f"python:modelgif.experiment.cifar_resnet:{network.name}?width={network.width}"
            f"&in_channels={data.train_images.shape[1]}&num_classes={len(data.classes)}"
        )


def other_labels(labels: Tensor, n_classes: int, *, generator: torch.Generator) -> Tensor:
    """Returns for each of `labels` ``[N]`` another one, all others being equally likely."""
    step = torch.randint(1, n_classes, labels.shape, generator=generator)
    return (labels + step) % n_classes


def salient_weights(
    model: nn.Module, images: Tensor, labels: Tensor, training: TrainingConfig, *, share: float
) -> dict[str, Tensor]:
    """Returns which weights the loss of the images depends on most, by parameter.

    Args:
        model: in evaluation mode; its parameters' gradients are used and cleared.
        images: ``[N, C, H, W]``.
        labels: ``[N]``.
        training: gives the batch size.
        share: of all weights that are chosen.
    """
    parameters = dict(model.named_parameters())
    for part, truth in zip(
        images.split(training.batch_size), labels.split(training.batch_size), strict=True
    ):
        F.cross_entropy(model(part), truth, reduction="sum").backward()
    sizes = {n: p.grad.abs() for n, p in parameters.items() if p.grad is not None}
    model.zero_grad()
    everything = torch.cat([size.flatten() for size in sizes.values()])
    count = max(1, round(share * len(everything)))
    threshold = everything.topk(count).values[-1]
    return {name: size >= threshold for name, size in sizes.items()}
