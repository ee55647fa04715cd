"""One model of the zoo."""

from dataclasses import dataclass

from intellectual_property_protection.recipe import Data, Recipe, Role, Training
from intellectual_property_protection.recipes import RECIPES


@dataclass(frozen=True)
class Member:
    """One model of the zoo.

    Attributes:
        name: unique; the name of its files.
        role: what it is used for.
        recipe: name of how it is made, see `intellectual_property_protection.recipes`.
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
    recipe: str
    architecture: str
    ratio: float | None = None
    parent: str | None = None
    data: Data = "other"
    label_set: str = "source"
    replicate: int = 0

    @property
    def made_by(self) -> Recipe:
        """What `recipe` stands for."""
        return RECIPES[self.recipe]

    @property
    def is_derived(self) -> bool:
        """Whether it was truly made from the victim."""
        return self.role in ("suspect", "surrogate") and self.made_by.has_parent

    @property
    def attack(self) -> str:
        """What was done to the victim, for tables: the recipe, or ``none``."""
        if not self.is_derived:
            return "none"
        # A published zoo has transfers to several label sets.
        return f"{self.recipe}_{self.label_set}" if self.made_by.is_published_only else self.recipe

    @property
    def training(self) -> Training:
        """The kind of training, in which its negatives should be like it."""
        return self.made_by.training

    @property
    def short_architecture(self) -> str:
        """The architecture's name, without where it comes from and its arguments."""
        return self.architecture.split("?")[0].split(":")[-1]
