"""The workshop: how each model of the zoo is made."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from intellectual_property_protection.config import IPPConfig, Role
from intellectual_property_protection.zoo import Member
from modelgif.experiment.data import ImageData
from modelgif.experiment.networks import network_address
from modelgif.experiment.seeding import derive_seed, seeded_generator
from modelgif.experiment.training import TrainingConfig, predict, train
from modelgif.loading import load_model


@dataclass(frozen=True)
class Workshop:
    """What models are made from: settings, data in two halves, and a device.

    The victim learns one half of the training images. Attackers and independent models know the
    other half only, as in the paper's protocol.
    """

    config: IPPConfig
    data: ImageData
    device: torch.device

    def half(self, of: Role) -> tuple[Tensor, Tensor]:
        """Returns the training images and labels that the victim, or anybody else, knows."""
        count = len(self.data.train_labels)
        order = torch.randperm(count, generator=seeded_generator(self.config.seed, "halves"))
        rows = order[: count // 2] if of == "victim" else order[count // 2 :]
        return self.data.train_images[rows], self.data.train_labels[rows]

    def make(self, member: Member, victim: nn.Module | None) -> nn.Module:
        """Returns the trained model of `member`, in evaluation mode on the device.

        Raises:
            ValueError: when a derived model is to be made without the victim.
        """
        recipes = self.config.recipes
        if not member.is_derived:
            model = self._untrained(member)
            self._fit(model, member, recipes.scratch, *self.half(member.role))
            return model
        if victim is None:
            raise ValueError(f"{member.name} is made from the victim, which does not exist yet.")
        images, labels = self.half(member.role)
        if member.recipe in ("extract_label", "extract_probability"):
            logits = predict(victim, images)
            answers = logits.argmax(1) if member.recipe == "extract_label" else logits.softmax(1)
            model = self._untrained(member)
            self._fit(model, member, recipes.extract, images, answers)
            return model
        model = copy.deepcopy(victim)
        pruned = _prune_smallest(model, member.ratio) if member.ratio is not None else []
        if member.recipe == "finetune_last":
            _freeze_all_but_last(model)
        self._fit(model, member, recipes.finetune, images, labels)
        for layer in pruned:
            prune.remove(layer, "weight")
        return model.requires_grad_(True)

    def card(self, member: Member) -> dict[str, object]:
        """Returns what the member's checkpoint says of its making."""
        return {
            "architecture": self._architecture(member),
            "preprocessing": self._preprocessing(),
            "role": member.role,
            "recipe": member.recipe,
            "ratio": member.ratio,
            "parent": "victim" if member.is_derived else None,
            "seed": self.config.seed,
            "data": self.data.name,
        }

    def _architecture(self, member: Member) -> str:
        n_channels = self.data.train_images.shape[1]
        return network_address(member.architecture, n_channels, len(self.data.classes))

    def _preprocessing(self) -> dict[str, list[float]]:
        images = self.data.train_images
        return {"mean": images.mean((0, 2, 3)).tolist(), "std": images.std((0, 2, 3)).tolist()}

    def _untrained(self, member: Member) -> nn.Module:
        options = {key: ",".join(map(str, v)) for key, v in self._preprocessing().items()}
        options["seed"] = str(derive_seed(self.config.seed, member.name, "weights"))
        query = "".join(f"&{key}={value}" for key, value in options.items())
        return load_model(self._architecture(member) + query, device=self.device)

    def _fit(
        self,
        model: nn.Module,
        member: Member,
        training: TrainingConfig,
        images: Tensor,
        targets: Tensor,
    ) -> None:
        order = seeded_generator(self.config.seed, member.name, "order")
        train(model, images, targets, training, generator=order)


def _freeze_all_but_last(model: nn.Module) -> None:
    model.requires_grad_(False)
    *_, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    last.requires_grad_(True)


def _prune_smallest(model: nn.Module, ratio: float) -> list[nn.Module]:
    """Masks the smallest weights of all layers together; returns the masked layers."""
    layers: list[nn.Module] = [
        module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    prune.global_unstructured(
        [(layer, "weight") for layer in layers], prune.L1Unstructured, amount=ratio
    )
    return layers
