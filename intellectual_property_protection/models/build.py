"""The workshop: how each model of the zoo is made."""

import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from intellectual_property_protection.config import RecipesConfig
from intellectual_property_protection.member import Member
from intellectual_property_protection.models.pruning import (
    make_permanent,
    prune_inactive,
    prune_smallest,
)
from intellectual_property_protection.recipe import ADVERSARIAL, Data
from modelgif.data.image_data import ImageData
from modelgif.experiment.adversarial_training import train_adversarially
from modelgif.experiment.networks import network_address
from modelgif.experiment.seeding import derive_seed, seeded_generator
from modelgif.experiment.training import TrainingConfig, predict, train
from modelgif.loading.load import load_model
from modelgif.references.adversarial import pgd

# Images by which the least active channels are found, and which robust accuracy is taken of.
N_ACTIVE = N_ATTACKED = 500


@dataclass(frozen=True)
class Workshop:
    """What models are made from.

    Attributes:
        recipes: the settings.
        seed: random numbers of a model depend on it and on the model's name alone.
        data: the whole data set, whose pixels all models are normalised by.
        halves: the victim's part of it, and everybody else's.
        transfer: the data of the other label set.
        device: where.
    """

    recipes: RecipesConfig
    seed: int
    data: ImageData
    halves: dict[Data, ImageData]
    transfer: ImageData | None
    device: torch.device

    def make(self, member: Member, parent: nn.Module | None) -> nn.Module:
        """Returns the trained model of `member`, in evaluation mode on the device.

        Args:
            member: which.
            parent: the model of `member.parent`; not changed.

        Raises:
            ValueError: when `parent` is missing.
        """
        if member.parent is None:
            return self._from_scratch(member)
        if parent is None:
            raise ValueError(f"{member.name} is made from {member.parent}: give that model.")
        if member.recipe.startswith("extract"):
            return self._extracted(member, parent)
        if member.recipe.startswith("transfer"):
            return self._transferred(member, parent)
        return self._finetuned(member, parent)

    def data_of(self, member: Member) -> ImageData:
        """Returns what the member learns, and the test images of its label set.

        Raises:
            ValueError: for another label set than the zoo has.
        """
        if member.label_set == "source":
            return self.halves[member.data]
        if self.transfer is None:
            raise ValueError(f"{member.name} has the labels of a transfer, which has no data.")
        return self.transfer

    def robust_accuracy(self, model: nn.Module, member: Member) -> float:
        """Returns the accuracy on the first test images, each moved by the attack of `recipes`."""
        data = self.data_of(member)
        images, labels = data.test_images[:N_ATTACKED], data.test_labels[:N_ATTACKED]
        hostile = self._attack(member, "robust")(model, images.to(self.device), labels)
        return (predict(model, hostile).argmax(1) == labels).double().mean().item()

    def card(self, member: Member) -> dict[str, object]:
        """Returns what the member's checkpoint says of the network and its data."""
        return {
            "architecture": self._architecture(member),
            "preprocessing": self._preprocessing(),
            "data": self.data_of(member).name,
            "n_classes": len(self.data_of(member).classes),
            "seed": self.seed,
        }

    def _from_scratch(self, member: Member) -> nn.Module:
        model, data = self._untrained(member), self.data_of(member)
        self._fit(model, member, self.recipes.scratch, data.train_images, data.train_labels)
        if member.recipe in ADVERSARIAL:
            self._harden(model, member, data.train_images, data.train_labels)
        return model

    def _extracted(self, member: Member, parent: nn.Module) -> nn.Module:
        images = self.data_of(member).train_images
        logits = predict(parent, images)
        labels = logits.argmax(1)
        answers = logits.softmax(1) if member.recipe == "extract_probability" else labels
        model = self._untrained(member)
        self._fit(model, member, self.recipes.extract, images, answers)
        if member.recipe in ADVERSARIAL:
            self._harden(model, member, images, labels)
        return model

    def _finetuned(self, member: Member, parent: nn.Module) -> nn.Module:
        model, data = copy.deepcopy(parent), self.data_of(member)
        if member.recipe == "prune" and member.ratio is not None:
            prune_smallest(model, member.ratio)
        if member.recipe == "fine_prune" and member.ratio is not None:
            seen = data.train_images[:N_ACTIVE].to(self.device)
            prune_inactive(model, seen, member.ratio, layers=self.recipes.fine_prune_layers)
        if member.recipe == "finetune_last":
            _freeze_all_but_last(model)
        self._fit(model, member, self.recipes.finetune, data.train_images, data.train_labels)
        make_permanent(model)
        return model.requires_grad_(True)

    def _transferred(self, member: Member, parent: nn.Module) -> nn.Module:
        if self.recipes.transfer is None:
            raise ValueError(f"{member.name} needs recipes.transfer.")
        model, data = self._untrained(member), self.data_of(member)
        last, _ = _last_layer(model)
        body = {k: v for k, v in parent.state_dict().items() if not k.startswith(f"{last}.")}
        model.load_state_dict(model.state_dict() | body)
        if member.recipe == "transfer_last":
            _freeze_all_but_last(model)
        self._fit(model, member, self.recipes.transfer, data.train_images, data.train_labels)
        return model.requires_grad_(True)

    def _architecture(self, member: Member) -> str:
        n_channels = self.data.train_images.shape[1]
        return network_address(member.architecture, n_channels, len(self.data_of(member).classes))

    def _preprocessing(self) -> dict[str, list[float]]:
        images = self.data.train_images
        return {"mean": images.mean((0, 2, 3)).tolist(), "std": images.std((0, 2, 3)).tolist()}

    def _untrained(self, member: Member) -> nn.Module:
        options = {key: ",".join(map(str, v)) for key, v in self._preprocessing().items()}
        options["seed"] = str(derive_seed(self.seed, member.name, "weights"))
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
        order = seeded_generator(self.seed, member.name, "order")
        train(model, images, targets, training, generator=order)

    def _harden(self, model: nn.Module, member: Member, images: Tensor, labels: Tensor) -> None:
        """Goes on with adversarial training."""
        if self.recipes.adversarial is None:
            raise ValueError(f"{member.name} needs recipes.adversarial.")
        train_adversarially(
            model,
            images,
            labels,
            self.recipes.adversarial,
            self._attack(member, "attack"),
            generator=seeded_generator(self.seed, member.name, "hardening"),
        )

    def _attack(self, member: Member, purpose: str) -> partial[Tensor]:
        generator = seeded_generator(self.seed, member.name, purpose)
        return partial(pgd, **self.recipes.perturbation.model_dump(), generator=generator)


def _freeze_all_but_last(model: nn.Module) -> None:
    model.requires_grad_(False)
    _last_layer(model)[1].requires_grad_(True)


def _last_layer(model: nn.Module) -> tuple[str, nn.Linear]:
    """The last linear layer, and its name."""
    *_, last = ((n, module) for n, module in model.named_modules() if isinstance(module, nn.Linear))
    return last
