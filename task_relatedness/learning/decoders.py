"""Decoders of tasks: what turns an encoder's features into a task's answer."""

import torch
from torch import Tensor, nn

from task_relatedness.tasks import TASKS

# Of an encoder's features: the number of channels, and of pixels a side for each of theirs.
N_FEATURES, STRIDE = 8, 16


def decoder(task: str, n_outputs: int, *, side: int, width: int) -> nn.Sequential:
    """Returns an untrained decoder of a task, for features ``[B, 8, side / 16, side / 16]``.

    It answers ``[B, n_outputs]`` for vectors and classes, by two linear layers, and
    ``[B, n_outputs, side, side]`` for everything with pixels, by convolutions between which the
    resolution doubles; embeddings for segments are of half that side, one for 2 x 2 pixels. Where
    answers are numbers, its last layer is `Rescaled`.

    Args:
        task: name; the task's form decides.
        n_outputs: channels, classes, or dimensions of an embedding.
        side: pixels a side of the rooms' images.
        width: channels of the first layers, or a quarter of an MLP's hidden units.

    Raises:
        ValueError: for a side that is not a multiple of 16.
    """
    if side % STRIDE:
        raise ValueError(f"rooms.size must be a multiple of {STRIDE} pixels, got {side}.")
    form = next(known.form for known in TASKS if known.name == task)
    layers: list[nn.Module]
    if form in ("vector", "class"):
        n_inputs = N_FEATURES * (side // STRIDE) ** 2
        layers = [nn.Flatten(), nn.Linear(n_inputs, 4 * width), nn.ReLU()]
        layers.append(nn.Linear(4 * width, n_outputs))
    elif form == "segments":
        layers = [*_convolutions(width), nn.Conv2d(width // 2, n_outputs, 1)]
    else:
        # Shuffled pixels, as CUDA's interpolation adds up gradients in no fixed order.
        doubling = [nn.Conv2d(width // 2, 4 * n_outputs, 1), nn.PixelShuffle(2)]
        layers = [*_convolutions(width), *doubling]
    if form in ("vector", "image"):
        layers.append(Rescaled(n_outputs, n_dimensions=2 if form == "image" else 0))
    return nn.Sequential(*layers)


class Rescaled(nn.Module):
    """Turns numbers of mean 0 and deviation 1 into those of a truth, channel by channel.

    Args:
        n_channels: of the truth.
        n_dimensions: dimensions beside the channels: 2 of an image, 0 of a vector.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_channels: int, n_dimensions: int) -> None:
        super().__init__()
        shape = (n_channels, *(1 for _ in range(n_dimensions)))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def fit(self, targets: Tensor) -> None:
        """Takes the mean and the deviation of each channel of `targets` ``[N, C, ...]``."""
        channels = targets.double().transpose(0, 1).flatten(1)
        # A channel that never changes is answered by its mean, and there is nothing to learn.
        std = channels.std(1, correction=0).clamp(min=1e-3)
        self.mean.copy_(channels.mean(1).reshape(self.mean.shape))
        self.std.copy_(std.reshape(self.std.shape))

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``x * std + mean`` for ``x`` of shape ``[B, C, ...]``."""
        return x * self.std + self.mean


def fit_scale(model: nn.Module, targets: Tensor) -> None:
    """Fits every `Rescaled` in `model` to the truth it is to be trained on, ``[N, C, ...]``."""
    for module in model.modules():
        if isinstance(module, Rescaled):
            module.fit(targets)


def _convolutions(width: int) -> list[nn.Module]:
    """Two blocks at 1/16 of the size, and one each at 1/8, 1/4 and 1/2."""
    layers = [*_block(N_FEATURES, width), *_block(width, width)]
    for before, after in ((width, width), (width, width // 2), (width // 2, width // 2)):
        layers += [nn.Upsample(scale_factor=2), *_block(before, after)]
    return layers


def _block(before: int, after: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU()]
