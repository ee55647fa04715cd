"""Pairs of pixels: how far apart their embeddings are, and whether they are of one segment."""

import torch
from torch import Tensor

N_PIXELS = 128


def pixel_pairs(
    embeddings: Tensor, segments: Tensor, *, generator: torch.Generator, n_pixels: int = N_PIXELS
) -> tuple[Tensor, Tensor]:
    """Returns squared distances between embeddings, and whether the pixels are of one segment.

    Both ``[B, n * (n - 1) / 2]``: all pairs of n pixels drawn at random, the same ones for all
    rooms of the batch.

    Args:
        embeddings: ``[B, D, h, w]``; where they are coarser than `segments`, each is that of a
            block of pixels.
        segments: ``[B, H, W]``.
        generator: CPU generator of the pixels.
        n_pixels: how many are drawn; all, where there are fewer.
    """
    height, width = segments.shape[1:]
    pixels = torch.randperm(height * width, generator=generator)[:n_pixels]
    rows, columns = pixels // width, pixels % width
    first, second = torch.triu_indices(len(pixels), len(pixels), 1).to(embeddings.device)
    h, w = embeddings.shape[2:]
    cells = (rows * h // height * w + columns * w // width).to(embeddings.device)
    # Drawing from the columns by an index adds up gradients in one order, on CUDA too.
    drawn = embeddings.flatten(2)[:, :, cells]
    numbers = segments.flatten(1)[:, pixels.to(segments.device)]
    norms = drawn.square().sum(1)
    squares = norms[:, :, None] + norms[:, None] - 2 * drawn.transpose(1, 2) @ drawn
    return squares[:, first, second].clamp(min=0), numbers[:, first] == numbers[:, second]
