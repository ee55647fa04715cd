"""Random changes of training images that keep what they show."""

import torch
from torch import Tensor
from torch.nn import functional as F


def crop_and_flip(images: Tensor, *, margin: int = 4, generator: torch.Generator) -> Tensor:
    """Returns `images` ``[B, C, H, W]``, each shifted and half of them mirrored, at random.

    Each is cropped at a uniformly drawn place after adding `margin` black pixels on every side, and
    flipped from left to right with probability one half: the usual augmentation for CIFAR.

    Args:
        images: pixels in [0, 1].
        margin: largest shift, in pixels.
        generator: CPU generator of all the draws.
    """
    count, channels, height, width = images.shape
    shift = torch.randint(2 * margin + 1, (2, count, 1), generator=generator)
    flip = torch.randint(2, (count, 1), generator=generator).bool()
    rows, columns = torch.arange(height) + shift[0], torch.arange(width) + shift[1]
    columns = columns.where(~flip, columns.flip(1))
    padded = F.pad(images, [margin] * 4)
    rows, columns = rows.to(images.device), columns.to(images.device)
    which = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[:, None, None]
    return padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]]
