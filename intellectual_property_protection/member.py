"""One model of the zoo."""

from dataclasses import dataclass

from intellectual_property_protection.recipe import (
    ADVERSARIAL,
    FRESH,
    Data,
    Recipe,
    Role,
    Training,
)


@dataclass(frozen=True)
class Member:
    """One model of the zoo.

    Attributes:
        name: unique; the name of its files.
        role: what it is used for.
        recipe: how it is made.
        architecture: name in `modelgif.experiment.networks`, or an address.
        ratio: share of the weights or channels that pruning removes.
        parent: name of the model that the recipe is applied to; None for a model from scratch.
        data: whose half of the training images it learns.
        label_set: ``source`` for the victim's labels, or the name of another set. Outputs of
            models with different label sets cannot be compared, fields can.
        replicate: number among the models made alike.
    """

    name: str
    role: Role
    recipe: Recipe
    architecture: str
    ratio: float | None = None
    parent: str | None = None
    data: Data = "other"
    label_set: str = "source"
    replicate: int = 0

    @property
    def is_derived(self) -> bool:
        """Whether it was truly made from the victim."""
        return self.role in ("suspect", "surrogate") and self.recipe not in FRESH

    @property
    def attack(self) -> str:
        """What was done to the victim, for tables: the recipe, or ``none``."""
        if not self.is_derived:
            return "none"
        return f"{self.recipe}_{self.label_set}" if self.recipe == "transfer" else self.recipe

    @property
    def training(self) -> Training:
        """The kind of training, in which its negatives should be like it."""
        return "adversarial" if self.recipe in ADVERSARIAL else "standard"

    @property
    def short_architecture(self) -> str:
        """The architecture's name, without where it comes from and its arguments."""
        return self.architecture.split("?")[0].split(":")[-1]
