"""Roles, and what a recipe is: the words of the zoo's table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

# What a model is used for. An honest suspect is made from scratch; surrogates are made from the
# victim to choose references by, and are never test cases.
Role = Literal["victim", "suspect", "independent", "surrogate"]

# Whose half of the training images a model learns.
Data = Literal["victim", "other"]

# What a model is trained for, beside accuracy: small perturbations, or nothing else.
Training = Literal["standard", "adversarial"]

Start = Literal["random", "parent", "parent's features"]
Layers = Literal["all", "last"]
Targets = Literal["labels", "parent's labels", "parent's probabilities"]
Settings = Literal["scratch", "finetune", "extract", "transfer"]
LabelSet = Literal["source", "transfer"]

# Changes a copy of the parent before it is fine-tuned, in place: takes the network, clean images on
# its device, ``generator=`` for random numbers, ``ratio=`` where groups give one, and what
# `Recipe.change_options` names.
Change = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model of the zoo is made, declared once in a file of `recipes`.

    Attributes:
        name: in configurations, rosters and records.
        does: what is done, in a few words, for tables.
        family: what models of such recipes are called in figures. These have ten colours, so that
            a family that exists, such as ``pruned``, is better than a new one.
        start: the weights before training: ``random``, the ``parent``'s, or the ``parent's
            features`` under a new last layer. All but random ones keep the parent's architecture.
        layers: which are trained; None where a published zoo does not say, so that no
            configuration can ask for the recipe.
        targets: what is learnt of each image.
        settings: the entry of the configuration's ``recipes`` by which it is trained.
        adversarial: whether adversarial training follows, by ``recipes.adversarial``.
        change: what is done to the copy of the parent first.
        change_options: arguments of `change`, each with the entry of the configuration's
            ``recipes`` that has its value.
        needs_ratio: whether groups give ratios for `change`.
        label_set: ``transfer`` for a recipe that answers with the labels of the transfer.

    Raises:
        ValueError: for properties that do not go together.
    """

    name: str
    does: str
    family: str
    start: Start
    settings: Settings
    layers: Layers | None = "all"
    targets: Targets = "labels"
    adversarial: bool = False
    change: Change | None = None
    change_options: Mapping[str, str] = field(default_factory=dict)
    needs_ratio: bool = False
    label_set: LabelSet = "source"

    def __post_init__(self) -> None:
        if self.change is not None and self.start != "parent":
            raise ValueError(f"{self.name}: only a copy of the parent can be changed.")
        if self.change is None and (self.needs_ratio or self.change_options):
            raise ValueError(f"{self.name}: ratios and options belong to a change.")
        if self.start == "random" and self.layers == "last":
            raise ValueError(f"{self.name}: random weights are all trained.")

    @property
    def has_parent(self) -> bool:
        """Whether it is applied to another model."""
        return self.start != "random" or self.targets != "labels"

    @property
    def keeps_architecture(self) -> bool:
        """Whether the model has its parent's architecture; else any."""
        return self.start != "random"

    @property
    def is_published_only(self) -> bool:
        """Whether it is known from a published zoo alone."""
        return self.layers is None

    @property
    def training(self) -> Training:
        """The kind of training, in which a model's negatives should be like it."""
        return "adversarial" if self.adversarial else "standard"

    @property
    def all_settings(self) -> tuple[str, ...]:
        """The entries of the configuration's ``recipes`` that it needs."""
        return (self.settings, *(["adversarial"] if self.adversarial else []))
