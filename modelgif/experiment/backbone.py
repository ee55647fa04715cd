"""Backbones: networks without their last linear layer, which give features for images."""

from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from modelgif.experiment import cifar_resnet, networks
from modelgif.loading.address import did_you_mean

_MAKERS: dict[str, Callable[..., nn.Module]] = {
    **{name: getattr(networks, name) for name in networks.NETWORKS},
    "resnet8": cifar_resnet.resnet8,
    "resnet20": cifar_resnet.resnet20,
}
BACKBONES = tuple(_MAKERS)


def backbone(network: str, in_channels: int = 3, width: int | None = None) -> nn.Module:
    """Returns an untrained network without its last linear layer.

    It maps images ``[B, in_channels, H, W]`` to features ``[B, D]``, the inputs of that layer.

    Args:
        network: one of `BACKBONES`, or ``torchvision:NAME``, which takes 3 channels.
        in_channels: channels of the images.
        width: the network's own argument; None for its default.

    Raises:
        ValueError: for an unknown network, or arguments that do not fit it.
    """
    library, _, name = network.partition(":")
    # Detectors and the like, in torchvision's other modules, would fetch weights of their own.
    known = torchvision.models.list_models(module=torchvision.models)
    if library == "torchvision" and name in known:
        if in_channels != 3 or width is not None:
            raise ValueError(
                f"{network} takes 3 channels and no width, got {in_channels}, {width}."
            )
        model = torchvision.models.get_model(name, weights=None)
    elif network in _MAKERS:
        options = {} if width is None else {"width": width}
        model = _MAKERS[network](num_classes=1, in_channels=in_channels, **options)
    else:
        raise ValueError(
            f"network must be one of {', '.join(BACKBONES)}, or torchvision:NAME, got {network!r}."
            f"{did_you_mean(network, BACKBONES)}"
        )
    cut_head(model)
    return model


def classifier_address(
    network: str, in_channels: int, num_classes: int, width: int | None = None
) -> str:
    """Returns the address of an untrained network of `BACKBONES` with its last layer.

    Raises:
        ValueError: for an unknown network.
    """
    if network not in _MAKERS:
        raise ValueError(f"network must be one of {', '.join(BACKBONES)}, got {network!r}.")
    numbers = f"in_channels={in_channels}&num_classes={num_classes}"
    wide = "" if width is None else f"&width={width}"
    return f"python:{_MAKERS[network].__module__}:{network}?{numbers}{wide}"


def backbone_address(network: str, in_channels: int, width: int | None = None) -> str:
    """Returns the address of `backbone` with these arguments."""
    wide = "" if width is None else f"&width={width}"
    return f"python:{__name__}:backbone?network={network}&in_channels={in_channels}{wide}"


def cut_head(model: nn.Module) -> nn.Linear:
    """Removes the last linear layer of `model`, in place, and returns it.

    Raises:
        ValueError: when there is none.
    """
    linear = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not linear or not linear[-1]:
        raise ValueError(
            f"{type(model).__name__} has no linear layer inside, so there is no head to remove."
        )
    head = model.get_submodule(linear[-1])
    assert isinstance(head, nn.Linear)
    model.set_submodule(linear[-1], nn.Identity())
    return head


@torch.no_grad()
def feature_count(backbone: nn.Module, image: Tensor) -> int:
    """Returns the number D of features that a backbone gives for an image ``[C, H, W]``.

    Its mode is left as it was.

    Raises:
        ValueError: when the output is not a vector.
    """
    training = backbone.training
    device = next(backbone.parameters()).device
    output = backbone.eval()(image[None].to(device))
    backbone.train(training)
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"a backbone gives features [B, D], got {shape}.")
    return output.shape[1]
