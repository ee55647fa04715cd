"""Random views of images, for pretraining that compares two of them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model_selection.pretraining_config import ViewsConfig


def random_views(images: Tensor, config: ViewsConfig, *, generator: torch.Generator) -> Tensor:
    """Returns one random view of each image: a square of it, maybe mirrored, in another light.

    The square's side is uniform from ``config.smallest`` to 1 and its place uniform; it is resized
    to the whole by bilinear interpolation. Then deviations from the image's mean are multiplied by
    a factor up to ``1 ± jitter``, and a number up to ``± jitter`` is added.

    Args:
        images: ``[B, C, H, W]`` in [0, 1].
        config: of the views.
        generator: CPU generator of all the draws.

    Returns:
        ``[B, C, H, W]`` in [0, 1].
    """
    count = len(images)
    side, across, down, mirror, contrast, light = torch.rand(6, count, generator=generator)
    side = config.smallest + (1 - config.smallest) * side
    # The square's centre, where the image reaches from -1 to 1.
    x, y = ((2 * place - 1) * (1 - side) for place in (across, down))
    sign = torch.where(mirror < 0.5, -1.0, 1.0) if config.flip else torch.ones(count)
    zero = torch.zeros(count)
    rows = (torch.stack([sign * side, zero, x]), torch.stack([zero, side, y]))
    maps = torch.stack(rows).permute(2, 0, 1).to(images.device)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    views = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    factor, shift = (
        (start + config.jitter * (2 * draw - 1))[:, None, None, None].to(images.device)
        for start, draw in ((1.0, contrast), (0.0, light))
    )
    mean = views.mean((1, 2, 3), keepdim=True)
    return ((views - mean) * factor + mean + shift).clamp(0, 1)
