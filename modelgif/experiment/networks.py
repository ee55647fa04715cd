"""Small image classifiers that train in seconds on a CPU.

Each takes images ``[B, in_channels, H, W]`` of at least 8 × 8 pixels and gives logits
``[B, num_classes]``; the last layer is called ``head``. They differ in their layers, not only in
width, so that a zoo of them has different architectures.
"""

import torch
from torch import Tensor, nn

NETWORKS = ("convnet", "mobilenet", "resnet", "vgg")


def convnet(in_channels: int, num_classes: int, width: int = 24) -> nn.Module:
    """Returns a plain convolutional network: three 3×3 layers with ReLU, no normalisation."""
    return Classifier(
        nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
        ),
        2 * width,
        num_classes,
    )


def vgg(in_channels: int, num_classes: int, width: int = 16) -> nn.Module:
    """Returns a VGG-like network: pairs of 3×3 layers with BatchNorm and max pooling."""
    return Classifier(
        nn.Sequential(
            _unit(in_channels, width),
            _unit(width, width),
            nn.MaxPool2d(2),
            _unit(width, 2 * width),
            _unit(2 * width, 2 * width),
            nn.MaxPool2d(2),
        ),
        2 * width,
        num_classes,
    )


def resnet(in_channels: int, num_classes: int, width: int = 16) -> nn.Module:
    """Returns a residual network: a stem and two residual blocks, the second at half the size."""
    return Classifier(
        nn.Sequential(
            _unit(in_channels, width), _Residual(width, width, 1), _Residual(width, 2 * width, 2)
        ),
        2 * width,
        num_classes,
    )


def mobilenet(in_channels: int, num_classes: int, width: int = 24) -> nn.Module:
    """Returns a network of depthwise-separable layers, as in MobileNet."""
    return Classifier(
        nn.Sequential(
            _unit(in_channels, width),
            _unit(width, width, groups=width),
            _unit(width, 2 * width, kernel_size=1),
            _unit(2 * width, 2 * width, groups=2 * width, stride=2),
            _unit(2 * width, 2 * width, kernel_size=1),
        ),
        2 * width,
        num_classes,
    )


def network_address(name: str, in_channels: int, num_classes: int) -> str:
    """Returns the address of an untrained network, for `modelgif.load_model`.

    Args:
        name: one of the functions above, or an address such as ``torchvision:resnet18``, which
            brings its own number of input channels.
        in_channels: channels of the images.
        num_classes: number of logits.

    Raises:
        ValueError: for a name that is neither.
    """
    if ":" in name:
        return f"{name}{'&' if '?' in name else '?'}num_classes={num_classes}"
    if name not in NETWORKS:
        raise ValueError(
            f"architecture must be one of {', '.join(NETWORKS)}, or an address such as "
            f"torchvision:resnet18; got {name!r}."
        )
    return f"python:{__name__}:{name}?in_channels={in_channels}&num_classes={num_classes}"


class Classifier(nn.Module):
    """Features, their mean over positions, and a linear head."""

    def __init__(self, features: nn.Module, n_features: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(n_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits ``[B, num_classes]`` of images ``[B, C, H, W]``."""
        return self.head(self.features(x).mean((2, 3)))


class _Residual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = _unit(in_channels, out_channels, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


def _unit(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
