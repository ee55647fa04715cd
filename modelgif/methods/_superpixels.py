"""Superpixels: segments of images along their edges, for ZEST."""

import torch
from torch import Tensor


def superpixels(
    images: Tensor, *, kernel_size: int = 4, max_dist: int = 200, ratio: float = 0.2
) -> Tensor:
    """Returns the superpixel of each pixel by quickshift, whole numbers from 0, ``[N, H, W]``.

    The defaults are those of LIME's and ZEST's programs, for photographs. On small images they find
    few superpixels: lower `kernel_size` and `max_dist`.

    Args:
        images: ``[N, 3, H, W]``, or ``[N, 1, H, W]`` which are taken as grey, pixels in [0, 1].
        kernel_size: width of the Gaussian by which density is estimated, in pixels.
        max_dist: how far apart pixels of one superpixel may be, in colour and place.
        ratio: weight of colour against place, in [0, 1].

    Raises:
        ValueError: for images of another shape.
        ModuleNotFoundError: when scikit-image is not installed.

    Source: Vedaldi and Soatto, Quick Shift and Kernel Methods for Mode Seeking, ECCV 2008.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be [N, 1 or 3, H, W], got {list(images.shape)}.")
    try:
        from skimage.segmentation import quickshift
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "superpixels need scikit-image: pip install 'modelgif[experiments]', or give segments "
            "of your own."
        ) from error
    colour = images.detach().cpu().double().expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    found = [
        # The seed breaks ties of density, and so keeps results the same.
        quickshift(image, kernel_size=kernel_size, max_dist=max_dist, ratio=ratio, rng=0)
        for image in colour
    ]
    return torch.stack([torch.from_numpy(segments).long() for segments in found])
