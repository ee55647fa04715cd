"""The testbed's configuration."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from modelgif.experiment.config import Config, DataConfig, FieldConfig
from modelgif.experiment.training import TrainingConfig

# The target that stands for each image's own label.
TRUE_LABEL = "true_label"


class ClassConfig(Config):
    """Forget all images of one class.

    Attributes:
        label: of the class.
    """

    kind: Literal["class"]
    label: NonNegativeInt


class SubsetConfig(Config):
    """Forget images drawn at random from all classes.

    Attributes:
        count: how many.
    """

    kind: Literal["subset"]
    count: PositiveInt


class ApproximateConfig(Config):
    """The paper's way: go on as the reference ended, with random wrong labels for the forgotten.

    At every draw an image to be forgotten gets a fresh label other than its own. Optimiser and
    schedule go on from the reference's last epoch.

    Attributes:
        epochs: how long.
    """

    recipe: Literal["approximate"]
    epochs: PositiveInt


class PlainConfig(Config):
    """Fine-tune on the retained images, or climb the loss of the forgotten ones.

    Attributes:
        training: how.
    """

    recipe: Literal["finetune", "gradient_ascent"]
    training: TrainingConfig


class SalUnConfig(Config):
    """Random wrong labels again, but only the weights that matter to the forgotten may change.

    These are the share `saliency` of all weights with the largest gradient of the forgotten
    images' loss.

    Attributes:
        training: how.
        saliency: share of the weights that may change.

    Source: Fan et al., SalUn, ICLR 2024.
    """

    recipe: Literal["salun"]
    training: TrainingConfig
    saliency: Annotated[float, Field(gt=0, lt=1)] = 0.5


Forget = Annotated[ClassConfig | SubsetConfig, Field(discriminator="kind")]
Method = Annotated[ApproximateConfig | PlainConfig | SalUnConfig, Field(discriminator="recipe")]


class NetworkConfig(Config):
    """A network of `modelgif.experiment.cifar_resnet`.

    Attributes:
        name: which.
        width: channels of its first stage.
    """

    name: Literal["resnet8", "resnet20"] = "resnet20"
    width: PositiveInt = 16


class UnlearningConfig(Config):
    """What is learnt and forgotten, how, how often, and at which images fields are measured.

    Attributes:
        seed: all random draws depend on it.
        replicates: how many times everything is trained, with other random draws.
        device: where.
        workers: processes at once; None takes one per core, or one alone for a CUDA device.
        data: which images.
        n_training_images: how many of them are learnt, drawn at random; None takes all.
        network: which is trained.
        forget: what is forgotten.
        training: how to train from scratch.
        methods: ways to make a trained model forget.
        checkpoint_every: epochs from one saved checkpoint to the next; the last is always saved.
        n_references: forgotten training images at which fields are measured, and held-out images;
            all of them where there are fewer.
        field: how fields are measured; the target ``true_label`` is each image's own.
    """

    seed: int = 0
    replicates: PositiveInt = 3
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: PositiveInt | None = None
    data: DataConfig
    n_training_images: PositiveInt | None = None
    network: NetworkConfig = NetworkConfig()
    forget: Forget
    training: TrainingConfig
    methods: tuple[Method, ...] = Field(min_length=1)
    checkpoint_every: PositiveInt = 2
    n_references: PositiveInt = 500
    field: FieldConfig = FieldConfig(target=TRUE_LABEL)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        recipes = [method.recipe for method in self.methods]
        twice = sorted({recipe for recipe in recipes if recipes.count(recipe) > 1})
        if twice:
            raise ValueError(f"methods has {twice[0]} twice")
        if "approximate" in recipes and self.training.schedule == "cosine":
            raise ValueError("a cosine schedule ends with the training: approximate cannot go on")
        epochs = [self.training.epochs, *(method_epochs(method) for method in self.methods)]
        if min(epochs) < 1:
            raise ValueError("every model needs at least one epoch")
        return self


def method_epochs(method: ApproximateConfig | PlainConfig | SalUnConfig) -> int:
    """Returns how many epochs a method takes."""
    return method.epochs if isinstance(method, ApproximateConfig) else method.training.epochs
