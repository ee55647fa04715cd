"""The residual networks for CIFAR: 20 layers and a quarter of a million weights, or fewer.

Shortcuts carry no weights: where a stage halves the image, they take every second pixel and pad
the new channels with zeros, half before and half after the old ones.

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2, option A.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def resnet20(num_classes: int = 10, in_channels: int = 3, width: int = 16) -> nn.Module:
    """Returns the untrained network of 20 layers: three stages of three residual blocks."""
    return CifarResNet(3, num_classes, in_channels, width)


def resnet8(num_classes: int = 10, in_channels: int = 3, width: int = 16) -> nn.Module:
    """Returns the smallest of the family, untrained: three stages of one residual block."""
    return CifarResNet(1, num_classes, in_channels, width)


class CifarResNet(nn.Module):
    """A residual network of ``6 n_blocks + 2`` layers.

    Takes images ``[B, in_channels, H, W]`` of at least 4 × 4 pixels and gives logits
    ``[B, num_classes]``. Convolutions and the last layer start from He's normal distribution.

    Args:
        n_blocks: residual blocks in each of the three stages.
        num_classes: number of logits.
        in_channels: channels of the images.
        width: channels of the first stage; the others have 2 and 4 times as many.
    """

    def __init__(self, n_blocks: int, num_classes: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(n_blocks, width, width, stride=1)
        self.layer2 = _stage(n_blocks, width, 2 * width, stride=2)
        self.layer3 = _stage(n_blocks, 2 * width, 4 * width, stride=2)
        self.linear = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits ``[B, num_classes]`` of images ``[B, in_channels, H, W]``."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class _Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride, self.n_new = stride, out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.n_new // 2, self.n_new - self.n_new // 2
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))
        x = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(x + shortcut)


def _stage(n_blocks: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    first = _Block(in_channels, out_channels, stride)
    others = (_Block(out_channels, out_channels, 1) for _ in range(n_blocks - 1))
    return nn.Sequential(first, *others)


def _convolution(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
