"""The testbed's configuration."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from intellectual_property_protection.evaluation_config import (
    EvaluationConfig,
    PerturbationConfig,
    ReferencesConfig,
)
from intellectual_property_protection.recipe import Data, Recipe, Role
from intellectual_property_protection.recipes import OWN_RECIPES, RECIPES
from intellectual_property_protection.score_name import check_scores
from modelgif.experiment.config import Config, DataConfig, FieldConfig
from modelgif.experiment.training import TrainingConfig

if TYPE_CHECKING:
    OwnRecipe = str
else:
    # Closed as any other choice, but read from the recipes that there are.
    OwnRecipe = Literal[OWN_RECIPES]
Ratio = Annotated[float, Field(gt=0, lt=1)]
Labels = Annotated[tuple[int, ...], Field(min_length=1)]


class GroupConfig(Config):
    """Models that share a role and a recipe: `count` of each architecture and pruning ratio.

    Attributes:
        role: what they are used for.
        recipe: how they are made, see `intellectual_property_protection.recipes`.
        architectures: names in `modelgif.experiment.networks`, or addresses.
        count: models of each architecture and ratio.
        ratios: shares of the weights or channels that pruning removes.
        parent: what the recipe is applied to: the victim, or an independent model, which makes the
            result independent, too. None for models from scratch; elsewhere the victim.
        data: whose half of the training images they learn; honest models may have the victim's.
        label_set: the victim's labels, or those of the transfer; a transfer has the latter anyway.
    """

    role: Role
    recipe: OwnRecipe
    architectures: tuple[str, ...] = Field(min_length=1)
    count: PositiveInt = 1
    ratios: tuple[Ratio, ...] = ()
    parent: Literal["victim", "independent"] | None = None
    data: Data = "other"
    label_set: Literal["source", "transfer"] = "source"

    @property
    def made_by(self) -> Recipe:
        """What `recipe` stands for."""
        return RECIPES[self.recipe]

    @property
    def made_from(self) -> Literal["victim", "independent"] | None:
        """What the recipe is applied to."""
        return (self.parent or "victim") if self.made_by.has_parent else None

    @property
    def labels(self) -> Literal["source", "transfer"]:
        """Which labels the models answer with."""
        return "transfer" if self.made_by.label_set == "transfer" else self.label_set

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.made_by.needs_ratio != bool(self.ratios):
            names = " and ".join(name for name in OWN_RECIPES if RECIPES[name].needs_ratio)
            raise ValueError(f"ratios belong to the recipes {names}, which need them")
        if not self.made_by.has_parent and self.parent is not None:
            raise ValueError(f"a model made by {self.recipe} has no parent: leave it out")
        if self.role == "victim" and (self.recipe, self.data, self.label_set) != (
            *("scratch", "other", "source"),
        ):
            raise ValueError("the victim is made from scratch, on its own data and labels")
        if self.role == "surrogate" and self.made_from != "victim":
            raise ValueError("a surrogate is made from the victim, by another recipe than scratch")
        if self.role == "independent" and self.made_from == "victim":
            raise ValueError(
                f"an independent model is not made from the victim: give {self.recipe} the parent "
                "independent, or the role suspect"
            )
        if self.made_from == "independent" and self.role != "independent":
            raise ValueError("a model made from an independent one has the role independent, too")
        if self.data == "victim" and self.role != "independent":
            raise ValueError("only independent models learn the victim's data: data is other")
        if "transfer" in (self.label_set, self.labels) and self.data == "victim":
            raise ValueError("the transfer's label set has no data of the victim: data is other")
        keeps_labels = self.made_by.has_parent and self.made_by.label_set == "source"
        if self.label_set == "transfer" and keeps_labels:
            raise ValueError(f"{self.recipe} keeps the label set source")
        return self


class RecipesConfig(Config):
    """How models are trained; a recipe whose settings are missing cannot be used.

    Attributes:
        scratch: from random weights.
        finetune: from a parent's weights, also after pruning.
        extract: from random weights, on a parent's outputs.
        transfer: from a parent's weights and a new last layer, on another label set.
        adversarial: what follows `scratch`, or `extract`, in adversarial training.
        perturbation: of adversarial training, and of the robust accuracy of every card.
        fine_prune_layers: whose channels `fine_prune` removes: those of the last convolution, as in
            its paper, or of all, as in SAC's published zoo.
    """

    scratch: TrainingConfig
    finetune: TrainingConfig
    extract: TrainingConfig
    transfer: TrainingConfig | None = None
    adversarial: TrainingConfig | None = None
    perturbation: PerturbationConfig = PerturbationConfig(epsilon=0.03, step_size=0.01, n_steps=5)
    fine_prune_layers: Literal["last", "all"] = "last"


class TransferConfig(Config):
    """The other label set, and the images that have it: one of the two.

    Attributes:
        groups: each new class as the victim's classes that it joins; classes in no group are left
            out. Images are those of the victim's data set, the training images the attackers' half.
        data: another data set, of images of the same shape.
    """

    groups: tuple[Labels, ...] = ()
    data: DataConfig | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if bool(self.groups) == (self.data is not None):
            raise ValueError("a transfer needs either groups of labels or other data")
        used = [label for group in self.groups for label in group]
        if self.groups and (len(self.groups) < 2 or len(set(used)) < len(used)):
            raise ValueError("groups must be two or more, and hold no label twice")
        return self


class PublishedConfig(Config):
    """A zoo that others have trained, see `intellectual_property_protection.models.published_zoo`.

    Attributes:
        root: folder of its files in their published names.
    """

    root: Annotated[str, Field(min_length=1)]


class IPPConfig(Config):
    """A zoo, its references and fields, the evaluation, and the level of the verdicts.

    Attributes:
        seed: all random draws depend on it.
        device: where.
        data: which images.
        n_training_images: how many of them are learnt, both halves together, drawn at random; None
            takes all.
        zoo: the models to train, with `recipes` and, for another label set, `transfer`.
        recipes: how the models of `zoo` are trained.
        transfer: the other label set, if `zoo` has models of one.
        published: or else, a zoo that others have trained.
        references: the images at which models are described.
        field: how fields are measured.
        evaluation: what is compared, and how it is evaluated.
        level: share of honest models that may be called derived.
    """

    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: DataConfig
    n_training_images: Annotated[int, Field(ge=2)] | None = None
    zoo: tuple[GroupConfig, ...] = ()
    recipes: RecipesConfig | None = None
    transfer: TransferConfig | None = None
    published: PublishedConfig | None = None
    references: ReferencesConfig
    field: FieldConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    level: Annotated[float, Field(gt=0, lt=0.5)] = 0.05

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        surrogates = any(group.role == "surrogate" for group in self.zoo)
        check_scores(
            self.references,
            self.evaluation,
            has_surrogates=surrogates or self.published is not None,
        )
        if self.published is not None:
            trained = (self.zoo, self.recipes, self.transfer, self.n_training_images)
            if any(trained):
                raise ValueError(
                    "a published zoo is not trained: leave out zoo, recipes, transfer and "
                    "n_training_images"
                )
            return self
        if self.recipes is None:
            raise ValueError("a zoo needs recipes, unless it is a published one")
        _check_roles(self.zoo)
        for problem in _missing_settings(self.zoo, self.recipes, self.transfer):
            raise ValueError(problem)
        return self


def _check_roles(zoo: tuple[GroupConfig, ...]) -> None:
    """Refuses a zoo without its sides, or with models that no parent can be found for."""
    victims = [g for g in zoo if g.role == "victim"]
    if len(victims) != 1 or victims[0].count * len(victims[0].architectures) != 1:
        raise ValueError("the zoo needs exactly one victim")
    for role in ("suspect", "independent"):
        if not any(group.role == role for group in zoo):
            raise ValueError(f"the zoo needs models of role {role}")
    victim = victims[0].architectures
    parents = {name for group in zoo if is_parent(group) for name in group.architectures}
    for group in zoo:
        if group.made_from == "victim" and group.made_by.keeps_architecture:
            if group.architectures != victim:
                raise ValueError(f"{group.recipe} keeps the victim's architecture {victim[0]}")
        elif group.made_from == "independent":
            needed = group.architectures if group.made_by.keeps_architecture else victim
            if absent := sorted(set(needed) - parents):
                raise ValueError(
                    f"{group.recipe} needs an independent parent of the architecture {absent[0]}, "
                    "made from scratch on the other half's data"
                )


def is_parent(group: GroupConfig) -> bool:
    """Returns whether the models of `group` may be the independent parents of others."""
    made = (group.role, group.recipe, group.data, group.label_set)
    return made == ("independent", "scratch", "other", "source")


def _missing_settings(
    zoo: tuple[GroupConfig, ...], recipes: RecipesConfig, transfer: TransferConfig | None
) -> Iterator[str]:
    for name in sorted({group.recipe for group in zoo}):
        for setting in RECIPES[name].all_settings:
            if getattr(recipes, setting) is None:
                yield f"{name} needs recipes.{setting}"
    if transfer is None and any(group.labels == "transfer" for group in zoo):
        yield "a zoo with the label set transfer needs transfer: its groups of labels or its data"
