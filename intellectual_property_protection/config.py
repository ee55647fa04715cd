"""The testbed's configuration."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from modelgif.experiment.config import Config, DataConfig, FieldConfig
from modelgif.experiment.training import TrainingConfig

# A suspect made from scratch is an honest one; independents are what p-values are taken from.
Role = Literal["victim", "suspect", "independent"]
Recipe = Literal[
    "scratch", "finetune_all", "finetune_last", "prune", "extract_label", "extract_probability"
]
Ratio = Annotated[float, Field(gt=0, lt=1)]


class GroupConfig(Config):
    """Models that share a role and a recipe: `count` of each architecture and pruning ratio."""

    role: Role
    recipe: Recipe
    architectures: tuple[str, ...] = Field(min_length=1)
    count: PositiveInt = 1
    ratios: tuple[Ratio, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.recipe == "prune") != bool(self.ratios):
            raise ValueError("ratios belong to the recipe prune, which needs them")
        if self.role != "suspect" and self.recipe != "scratch":
            raise ValueError(f"a {self.role} is made from scratch, not by {self.recipe}")
        return self


class RecipesConfig(Config):
    """How to train from scratch, from the victim's weights, and on the victim's answers."""

    scratch: TrainingConfig
    finetune: TrainingConfig
    extract: TrainingConfig


class ReferencesConfig(Config):
    """Which test images models are described at."""

    selection: Literal["random", "cutmix"]
    count: PositiveInt


class IPPConfig(Config):
    """A zoo, its references and fields, and the level of the verdicts."""

    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: DataConfig
    zoo: tuple[GroupConfig, ...]
    recipes: RecipesConfig
    references: ReferencesConfig
    field: FieldConfig
    level: Annotated[float, Field(gt=0, lt=0.5)] = 0.05

    @model_validator(mode="after")
    def _has_sides(self) -> Self:
        victims = [g for g in self.zoo if g.role == "victim"]
        if len(victims) != 1 or victims[0].count * len(victims[0].architectures) != 1:
            raise ValueError("the zoo needs exactly one victim")
        for role in ("suspect", "independent"):
            if not any(group.role == role for group in self.zoo):
                raise ValueError(f"the zoo needs models of role {role}")
        victim = victims[0].architectures
        for group in self.zoo:
            inherits = group.recipe in ("finetune_all", "finetune_last", "prune")
            if inherits and group.architectures != victim:
                raise ValueError(f"{group.recipe} keeps the victim's architecture {victim[0]}")
        return self
