"""Builds each model of the zoo by its recipe."""

import copy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from intellectual_property_protection.config import RecipesConfig
from intellectual_property_protection.member import Member
from intellectual_property_protection.models.pruning import make_permanent
from intellectual_property_protection.recipe import Data
from modelgif.data.image_data import ImageData
from modelgif.experiment.adversarial_training import train_adversarially
from modelgif.experiment.networks import network_address
from modelgif.experiment.seeding import derive_seed, seeded_generator
from modelgif.experiment.training import TrainingConfig, predict, train
from modelgif.loading.load import load_model
from modelgif.references.adversarial import pgd

# Clean images that a recipe's change sees, and those whose robust accuracy is measured.
N_CLEAN = N_ATTACKED = 500


@dataclass(frozen=True)
class ModelBuilder:
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

    def build(self, member: Member, parent: nn.Module | None) -> nn.Module:
        """Returns the trained model of `member`, in evaluation mode on the device.

        Args:
            member: which.
            parent: the model of `member.parent`; not changed.

        Raises:
            ValueError: when `parent` is missing.
        """
        if not member.made_by.has_parent:
            return self._from_random(member, None)
        if parent is None:
            raise ValueError(f"{member.name} is made from {member.parent}: give that model.")
        if member.made_by.start == "random":
            return self._from_random(member, parent)
        if member.made_by.start == "parent":
            return self._from_copy(member, parent)
        return self._from_features(member, parent)

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
        adversarial = self._attack(member, "robust")(model, images.to(self.device), labels)
        return (predict(model, adversarial).argmax(1) == labels).double().mean().item()

    def card(self, member: Member) -> dict[str, object]:
        """Returns what the member's checkpoint says of the network and its data."""
        return {
            "architecture": self._architecture(member),
            "preprocessing": self._preprocessing(),
            "data": self.data_of(member).name,
            "n_classes": len(self.data_of(member).classes),
            "seed": self.seed,
        }

    def _from_random(self, member: Member, parent: nn.Module | None) -> nn.Module:
        """A new network, trained on labels, or on what `parent` says of the same images."""
        recipe, data = member.made_by, self.data_of(member)
        labels = targets = data.train_labels
        if parent is not None:
            logits = predict(parent, data.train_images)
            labels = targets = logits.argmax(1)
            if recipe.targets == "parent's probabilities":
                targets = logits.softmax(1)
        model = self._untrained(member)
        self._fit(model, member, data.train_images, targets)
        if recipe.adversarial:
            self._train_adversarially(model, member, data.train_images, labels)
        return model

    def _from_copy(self, member: Member, parent: nn.Module) -> nn.Module:
        """A copy of `parent`, changed and trained further."""
        recipe, model, data = member.made_by, copy.deepcopy(parent), self.data_of(member)
        if recipe.change is not None:
            options = {k: getattr(self.recipes, name) for k, name in recipe.change_options.items()}
            if recipe.needs_ratio:
                options["ratio"] = member.ratio
            recipe.change(
                model,
                data.train_images[:N_CLEAN].to(self.device),
                generator=seeded_generator(self.seed, member.name, "change"),
                **options,
            )
        return self._trained_further(model, member, data)

    def _from_features(self, member: Member, parent: nn.Module) -> nn.Module:
        """All but the last layer of `parent`, under a new one."""
        model = self._untrained(member)
        last, _ = _last_layer(model)
        body = {k: v for k, v in parent.state_dict().items() if not k.startswith(f"{last}.")}
        model.load_state_dict(model.state_dict() | body)
        return self._trained_further(model, member, self.data_of(member))

    def _trained_further(self, model: nn.Module, member: Member, data: ImageData) -> nn.Module:
        if member.made_by.layers == "last":
            _freeze_all_but_last(model)
        self._fit(model, member, data.train_images, data.train_labels)
        # What a change has masked stays masked.
        make_permanent(model)
        model.requires_grad_(True)
        if member.made_by.adversarial:
            self._train_adversarially(model, member, data.train_images, data.train_labels)
        return model

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

    def _fit(self, model: nn.Module, member: Member, images: Tensor, targets: Tensor) -> None:
        name = member.made_by.settings
        settings: TrainingConfig | None = getattr(self.recipes, name)
        if settings is None:
            raise ValueError(f"{member.name} needs recipes.{name}.")
        order = seeded_generator(self.seed, member.name, "order")
        train(model, images, targets, settings, generator=order)

    def _train_adversarially(
        self, model: nn.Module, member: Member, images: Tensor, labels: Tensor
    ) -> None:
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
