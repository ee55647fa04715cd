"""Segments of images without a library: a grid of squares, and the check of any segments."""

import torch
from torch import Tensor


def grid(images: Tensor, *, n_side: int = 7) -> Tensor:
    """Returns the cell of each pixel in a grid of `n_side` × `n_side`, whole numbers ``[N, H, W]``.

    Rows and columns are as even as they can be; an image smaller than the grid has one cell per
    pixel.
    """
    height, width = images.shape[-2:]
    n_rows, n_columns = min(n_side, height), min(n_side, width)
    row = torch.arange(height) * n_rows // height
    column = torch.arange(width) * n_columns // width
    cell = row[:, None] * n_columns + column[None, :]
    return cell.expand(len(images), height, width)


def check_segments(segments: Tensor, images: Tensor) -> Tensor:
    """Returns `segments` on the CPU in int64.

    Raises:
        ValueError: unless they are whole numbers from 0, one per pixel of each of the `images`.
    """
    expected = (len(images), *images.shape[-2:])
    whole = not (segments.is_floating_point() or segments.is_complex())
    if segments.shape != expected or not whole or int(segments.min()) < 0:
        raise ValueError(
            f"segments must be whole numbers from 0, one per pixel, {list(expected)}, got "
            f"{list(segments.shape)} of {segments.dtype}."
        )
    return segments.detach().cpu().long()
