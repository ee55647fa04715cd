"""Taskonomy's networks: an encoder, which sees, and decoders, which tell what it saw.

The encoder is a ResNet-50 without its head, whose stages halve the image in their last block
instead of their first, and whose features are squeezed to 8 channels. At the published width of
64, names and shapes of weights are those of the published files; see
`task_relatedness.encoders.published_files`. A narrower network is the same one with fewer channels
inside.

Images are in [-1, 1].

Source: Zamir et al., Taskonomy: Disentangling Task Transfer Learning, CVPR 2018, section 3.2 and
supplement; ResNet-50: He et al., CVPR 2016.
"""

import torch
from torch import Tensor, nn

FEATURES = 8  # channels between encoder and decoder, whatever the width


def encoder(width: int = 64) -> nn.Module:
    """Returns an untrained `Encoder`."""
    return Encoder(width)


def decoder(channels: int = 3, width: int = 64, tanh: bool = False) -> nn.Module:
    """Returns an untrained `Decoder`."""
    return Decoder(channels, width=width, tanh=tanh)


def mlp_decoder(channels: int = 1000, side: int = 16, width: int = 64) -> nn.Module:
    """Returns an untrained `MLPDecoder`."""
    return MLPDecoder(channels, side=side, width=width)


class Encoder(nn.Module):
    """Maps images ``[B, 3, H, W]`` to features ``[B, 8, H/16, W/16]``, none of them negative.

    Args:
        width: channels of the first layer; the last stage has 32 times as many.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        _at_least_one(width=width)
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        # Pads on the far sides alone.
        self.maxpool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, stride=2))
        self.layer1 = _stage(3, width, width, stride=2)
        self.layer2 = _stage(4, 4 * width, 2 * width, stride=2)
        self.layer3 = _stage(6, 8 * width, 4 * width, stride=1)
        self.layer4 = _stage(3, 16 * width, 8 * width, stride=1)
        self.compress1 = nn.Conv2d(32 * width, FEATURES, 3, padding=1, bias=False)
        self.compress_bn = nn.BatchNorm2d(FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """Returns features ``[B, 8, H/16, W/16]`` of images ``[B, 3, H, W]``."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return torch.relu(self.compress_bn(self.compress1(x)))


class Decoder(nn.Module):
    """Maps features ``[B, 8, h, w]`` to images ``[B, channels, 16 h, 16 w]``.

    Args:
        channels: of the result.
        width: channels of its deepest layers are 16 times as many, of its last ones a quarter.
        tanh: whether results are squashed to [-1, 1], as published for images; else they are
            numbers without bounds, as published for the logits of classes.
    """

    def __init__(self, channels: int, *, width: int = 64, tanh: bool = False) -> None:
        super().__init__()
        _at_least_one(channels=channels, width=width)
        if width % 4:
            raise ValueError(f"width must be a multiple of 4, got {width}.")
        half, quarter = width // 2, width // 4
        self.conv2 = _convolution(FEATURES, 16 * width)
        self.conv3 = _convolution(16 * width, 16 * width)
        self.conv4 = _convolution(16 * width, 8 * width)
        self.conv5 = _convolution(8 * width, 4 * width)
        self.conv6 = _convolution(4 * width, 4 * width)
        self.conv7 = _convolution(4 * width, 2 * width)
        self.deconv8 = _doubling(2 * width, width)
        self.conv9 = _convolution(width, width)
        self.deconv10 = _doubling(width, half)
        self.conv11 = _convolution(half, half)
        self.deconv12 = _doubling(half, quarter)
        self.conv13 = _convolution(quarter, half)
        self.deconv14 = _doubling(half, quarter)
        last = nn.Tanh() if tanh else nn.Identity()
        self.decoder_output = nn.Sequential(nn.Conv2d(quarter, channels, 3, padding=1), last)

    def forward(self, x: Tensor) -> Tensor:
        """Returns images ``[B, channels, 16 h, 16 w]`` of features ``[B, 8, h, w]``."""
        for layer in self.children():
            x = layer(x)
        return x


class MLPDecoder(nn.Module):
    """Maps features ``[B, 8, side, side]`` to numbers ``[B, channels]``.

    Args:
        channels: of the result.
        side: of the features; published for images of 256 px, 16.
        width: a thirty-second of the hidden layer's.
    """

    def __init__(self, channels: int, *, side: int = 16, width: int = 64) -> None:
        super().__init__()
        _at_least_one(channels=channels, side=side, width=width)
        self.fc0 = nn.Linear(FEATURES * side**2, 32 * width, bias=False)
        self.bn0 = nn.BatchNorm1d(32 * width)
        self.fc2 = nn.Linear(32 * width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Returns numbers ``[B, channels]`` of features ``[B, 8, side, side]``."""
        # The published weights were trained where channels come last.
        x = x.permute(0, 2, 3, 1).flatten(1)
        return self.fc2(torch.relu(self.bn0(self.fc0(x))))


class _Block(nn.Module):
    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Module = nn.Identity()
        if in_channels != 4 * width:
            widening = nn.Conv2d(in_channels, 4 * width, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(widening, nn.BatchNorm2d(4 * width))
        elif stride != 1:
            # Takes every pixel that the convolution's middle falls on.
            self.downsample = nn.MaxPool2d(1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


def _stage(n_blocks: int, in_channels: int, width: int, stride: int) -> nn.Sequential:
    first = _Block(in_channels, width, 1)
    middle = (_Block(4 * width, width, 1) for _ in range(n_blocks - 2))
    return nn.Sequential(first, *middle, _Block(4 * width, width, stride))


def _convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.LeakyReLU(0.2))


def _doubling(in_channels: int, out_channels: int) -> nn.Sequential:
    # The published network pads and crops around the convolution; all of it amounts to dropping
    # the last row and column, and the empty place keeps the names of the weights.
    convolution = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, bias=False)
    crop = nn.ZeroPad2d((0, -1, 0, -1))
    norm = nn.BatchNorm2d(out_channels)
    return nn.Sequential(nn.Identity(), convolution, crop, norm, nn.LeakyReLU(0.2))


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}.")
