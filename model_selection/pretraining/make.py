"""Which pretext belongs to which settings."""

from torch import Tensor, nn

from model_selection.pretraining.classification import Jigsaw, Rotation, Supervised
from model_selection.pretraining.comparing import BYOL, BarlowTwins, SimCLR
from model_selection.pretraining.pretext import Pretext
from model_selection.pretraining.reconstruction import Autoencoding, Denoising, Inpainting
from model_selection.pretraining_config import (
    AutoencodingConfig,
    BarlowTwinsConfig,
    BYOLConfig,
    DenoisingConfig,
    InpaintingConfig,
    JigsawConfig,
    RotationConfig,
    SimCLRConfig,
    SupervisedConfig,
    TrainedConfig,
)


def make_pretext(
    config: TrainedConfig, network: nn.Module, n_features: int, mean: Tensor
) -> Pretext:
    """Returns the pretext of a kind of pretraining; its heads get torch's next random numbers.

    Args:
        config: which kind, and its settings.
        network: a classifier of the source's classes for supervised pretraining, else a backbone.
        n_features: of the backbone.
        mean: the mean training image, ``[C, H, W]``.
    """
    match config:
        case SupervisedConfig():
            return Supervised(network)
        case RotationConfig():
            return Rotation(network, n_features)
        case JigsawConfig():
            return Jigsaw(network, n_features)
        case SimCLRConfig():
            return SimCLR(network, n_features, config)
        case BarlowTwinsConfig():
            return BarlowTwins(network, n_features, config)
        case BYOLConfig():
            return BYOL(network, n_features, config)
        case AutoencodingConfig():
            return Autoencoding(network, n_features, mean)
        case DenoisingConfig():
            return Denoising(network, n_features, mean, config.noise)
        case InpaintingConfig():
            return Inpainting(network, n_features, mean, config.hole)
