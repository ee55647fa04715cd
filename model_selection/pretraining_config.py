"""How the models of the zoo are pretrained: one class a kind of pretraining."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from modelgif.experiment.config import Config
from modelgif.experiment.training import TrainingConfig

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Architecture = Literal["convnet", "mobilenet", "resnet", "vgg", "resnet8", "resnet20"]
Share = Annotated[float, Field(gt=0, le=1)]


class ViewsConfig(Config):
    """Random views of an image, see `model_selection.pretraining.views.random_views`.

    Attributes:
        smallest: least side of the square that is kept, as a share of the image's.
        flip: whether half of the views are mirrored.
        jitter: largest change of contrast, as a share, and of brightness.
    """

    smallest: Share = 0.5
    flip: bool = True
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.3


class _Group(Config):
    """Models of one kind of pretraining, one an architecture.

    Attributes:
        name: what their names begin with; None for that of the pretraining.
        architectures: which networks.
        width: of the networks; None for their own.
    """

    name: Name | None = None
    architectures: tuple[Architecture, ...] = Field(min_length=1)
    width: PositiveInt | None = None


class _TrainedGroup(_Group):
    """Models that are trained.

    Attributes:
        training: how.
    """

    training: TrainingConfig


class RandomConfig(_Group):
    """Random weights: what fine-tuning from scratch gives."""

    pretraining: Literal["random"]


class SupervisedConfig(_TrainedGroup):
    """The labels of the source."""

    pretraining: Literal["supervised"]


class RotationConfig(_TrainedGroup):
    """By how many quarter turns the image was rotated.

    Source: Gidaris et al., Unsupervised representation learning by predicting image rotations,
    ICLR 2018.
    """

    pretraining: Literal["rotation"]


class JigsawConfig(_TrainedGroup):
    """Which of the 24 orders the image's four quarters are in.

    Source: Noroozi and Favaro, ECCV 2016; the network sees the shuffled image whole, as in Carlucci
    et al., Domain generalization by solving jigsaw puzzles, CVPR 2019.
    """

    pretraining: Literal["jigsaw"]


class SimCLRConfig(_TrainedGroup):
    """Which view, among those of a batch, is of the same image.

    Attributes:
        views: how views of an image differ.
        temperature: by which similarities are divided.
        n_projection: outputs of the projection head.
    """

    pretraining: Literal["simclr"]
    views: ViewsConfig = ViewsConfig()
    temperature: PositiveFloat = 0.5
    n_projection: PositiveInt = 64


class BarlowTwinsConfig(_TrainedGroup):
    """Features that agree between two views, and do not repeat each other.

    Attributes:
        views: how views of an image differ.
        redundancy: weight of the correlations between different features.
        n_projection: outputs of the projection head.
    """

    pretraining: Literal["barlow_twins"]
    views: ViewsConfig = ViewsConfig()
    redundancy: PositiveFloat = 0.005
    n_projection: PositiveInt = 128


class BYOLConfig(_TrainedGroup):
    """What a slow average of the network itself says of another view.

    Attributes:
        views: how views of an image differ.
        momentum: share of the average that a step keeps.
        n_projection: outputs of the projection head.
    """

    pretraining: Literal["byol"]
    views: ViewsConfig = ViewsConfig()
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.98
    n_projection: PositiveInt = 64


class AutoencodingConfig(_TrainedGroup):
    """The image itself, from its features alone."""

    pretraining: Literal["autoencoding"]


class DenoisingConfig(_TrainedGroup):
    """The image, from the features of one with Gaussian noise.

    Attributes:
        noise: standard deviation, of pixels in [0, 1].

    Source: Vincent et al., Extracting and composing robust features with denoising autoencoders,
    ICML 2008.
    """

    pretraining: Literal["denoising"]
    noise: PositiveFloat = 0.4


class InpaintingConfig(_TrainedGroup):
    """What a grey square at a random place hides, whose side is a share of the image's.

    Attributes:
        hole: that share.

    Source: Pathak et al., Context encoders, CVPR 2016.
    """

    pretraining: Literal["inpainting"]
    hole: Annotated[float, Field(gt=0, lt=1)] = 0.5


TrainedConfig = (
    SupervisedConfig
    | RotationConfig
    | JigsawConfig
    | SimCLRConfig
    | BarlowTwinsConfig
    | BYOLConfig
    | AutoencodingConfig
    | DenoisingConfig
    | InpaintingConfig
)
PretrainingConfig = Annotated[RandomConfig | TrainedConfig, Field(discriminator="pretraining")]
