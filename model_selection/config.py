"""The testbed's configuration."""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from model_selection.pretraining_config import Name, PretrainingConfig
from model_selection.scoring_config import EvaluationConfig, ScoresConfig
from modelgif.experiment.config import Config, DataConfig
from modelgif.experiment.training import TrainingConfig

Labels = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]


class SourceConfig(Config):
    """What models are pretrained on.

    Attributes:
        data: which images; pretraining uses training images only.
        origin: where to get them, for a folder.
        classes: labels that are pretrained on; empty for all.
        n_train: images to pretrain on, with equal shares of the classes; None for all but those
            held out.
        n_held_out: more such images, which no model learns: they show what pretraining achieved,
            and are the general images of potential energy descent.
    """

    data: DataConfig
    origin: Text | None = None
    classes: tuple[NonNegativeInt, ...] = ()
    n_train: PositiveInt | None = None
    n_held_out: PositiveInt = 1000


class PublishedConfig(Config):
    """Models that others have pretrained, one file ``ROOT/MODEL.pth`` or ``.safetensors`` each.

    Attributes:
        root: folder of the files, each a state dict.
        models: names of the files without their ending, which are the models' names.
        pretraining: what tables say of them; None for the name of each.
        architecture: address of the untrained network, such as ``timm:resnet50?num_classes=0``.
        n_classes: source classes that the network's last layer tells apart; None for a backbone.
        mean: by which pixels are normalised, per channel.
        std: by which they are divided, per channel.
        size: pixels per side to resize to; None for none.
        origin: where to get the files.
    """

    root: Text
    models: tuple[Name, ...] = Field(min_length=1)
    pretraining: Text | None = None
    architecture: Text
    n_classes: PositiveInt | None = None
    mean: tuple[float, ...] = ()
    std: tuple[PositiveFloat, ...] = ()
    size: PositiveInt | None = None
    origin: Text


class TaskConfig(Config):
    """A downstream task.

    Attributes:
        name: unique; the name of its files.
        data: which images; None for those of the source's data set that no model was pretrained on.
        origin: where to get them, for a folder.
        groups: each class as the labels that it joins; labels in no group are left out. Empty for
            the data set's own classes.
        n_train: training images, with equal shares of the classes; None for all.
        n_test: test images, with equal shares of the classes; None for all.
        noise: share of the training images that get another class's label.
        per_class: whether the accuracy is the mean of the classes' accuracies.
    """

    name: Name
    data: DataConfig | None = None
    origin: Text | None = None
    groups: tuple[Labels, ...] = ()
    n_train: PositiveInt | None = None
    n_test: PositiveInt | None = None
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    per_class: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        used = [label for group in self.groups for label in group]
        if self.groups and (len(self.groups) < 2 or len(set(used)) < len(used)):
            raise ValueError("groups must be two or more, and hold no label twice")
        if self.name == "general":
            raise ValueError("general is the name of the general images' features: take another")
        return self


class FinetuneConfig(Config):
    """How models are fine-tuned: a grid of settings, of which validation images choose one.

    Attributes:
        learning_rates: to try, each with each weight decay.
        weight_decays: to try.
        n_steps: steps of the optimiser, as whole epochs, at least one.
        batch_size: images a step.
        optimizer: as `modelgif.experiment.training.TrainingConfig`.
        schedule: as `modelgif.experiment.training.TrainingConfig`.
        augmentation: as `modelgif.experiment.training.TrainingConfig`.
        validation_share: of the training images, set apart within each class to choose by.
        n_refits: trainings with the chosen setting on all training images, with other random
            numbers; the accuracy is their mean.
    """

    learning_rates: tuple[PositiveFloat, ...] = Field(min_length=1)
    weight_decays: tuple[NonNegativeFloat, ...] = Field(min_length=1)
    n_steps: PositiveInt
    batch_size: PositiveInt = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    schedule: Literal["constant", "cosine"] = "cosine"
    augmentation: Literal["none", "crop_and_flip"] = "none"
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    n_refits: PositiveInt = 3

    def grid(self) -> list[tuple[float, float]]:
        """Returns the settings to try, as learning rate and weight decay."""
        return [(rate, decay) for rate in self.learning_rates for decay in self.weight_decays]

    def training(self, learning_rate: float, weight_decay: float, n_images: int) -> TrainingConfig:
        """Returns how to train with one setting on `n_images` images."""
        batches = -(-n_images // self.batch_size)
        return TrainingConfig(
            epochs=max(1, round(self.n_steps / batches)),
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=self.schedule,
            augmentation=self.augmentation,
        )


class ModelSelectionConfig(Config):
    """A zoo of pretrained models, the tasks they are fine-tuned on, and the scores.

    Attributes:
        seed: all random draws depend on it.
        device: where.
        workers: processes at once; None takes one per core, or one alone for a CUDA device.
        source: what models are pretrained on.
        zoo: models to pretrain.
        published: models that others have pretrained.
        tasks: downstream tasks.
        finetune: how the accuracies are measured that the scores are to predict.
        scores: which scores are computed, and on what.
        evaluation: how rankings of models are evaluated.
    """

    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: PositiveInt | None = None
    source: SourceConfig
    zoo: tuple[PretrainingConfig, ...] = ()
    published: tuple[PublishedConfig, ...] = ()
    tasks: tuple[TaskConfig, ...] = Field(min_length=2)
    finetune: FinetuneConfig
    scores: ScoresConfig = ScoresConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        models = [f"{g.name or g.pretraining}-{a}" for g in self.zoo for a in g.architectures]
        models += [name for group in self.published for name in group.models]
        if len(models) < 2:
            raise ValueError("there must be two models or more to choose between")
        for what, names in (("model", models), ("task", [task.name for task in self.tasks])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"there are two {what}s called {twice[0]}: give one another name")
        own = (self.source.data.name, self.source.data.root)
        for task in self.tasks:
            if task.data is not None and (task.data.name, task.data.root) == own:
                raise ValueError(
                    f"the task {task.name} has the source's data: leave out data, so that it gets "
                    "images that no model was pretrained on"
                )
        return self
