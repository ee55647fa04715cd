"""The preprocessing of an image processor, measured by what it does to a few plain images."""

from typing import Any

import numpy as np
import torch

# Odd, so that hardly any network's size is met by chance.
_PROBE = 301
_GREY = 128
# Of the range of outputs: the processors compute in float32.
_TOLERANCE = 1e-4
# Keeps the numbers people wrote (0.485), and loses less than a thousandth of a grey level.
_DIGITS = 7


def measured_preprocessing(processor: Any) -> tuple[dict[str, Any], bool]:
    """Returns the mean, standard deviation and size of an image processor, and whether it is BGR.

    The processor is given four plain images (black, white, grey, red), and its output is explained
    as ``(x - mean) / std`` per channel of pixels in [0, 1], at one size. This covers every spelling
    of the same arithmetic (rescaling with an offset, a second division, a missing normalisation)
    and notices what is something else. Resampling is taken as bilinear, whatever the processor's.

    Args:
        processor: of transformers: RGB images of 8 bits to a mapping with ``pixel_values``.

    Raises:
        ValueError: for a processor that does anything else.
    """
    levels = np.array([[0, 0, 0], [255, 255, 255], [_GREY] * 3, [255, 0, 0]], dtype=np.uint8)
    images = [np.broadcast_to(level, (_PROBE, _PROBE, 3)).copy() for level in levels]
    output = torch.as_tensor(processor(images=images, return_tensors="pt")["pixel_values"]).double()
    if output.ndim != 4 or output.shape[:2] != (len(levels), 3):
        raise ValueError(
            f"expected [{len(levels)}, 3, height, width] of {len(levels)} colour images, got "
            f"{list(output.shape)}"
        )
    low, high = output.amin((2, 3)), output.amax((2, 3))
    black, white, grey, red = (low + high) / 2
    slope = white - black
    if (high - low).max() > _TOLERANCE * slope.abs().max():
        raise ValueError("a plain image does not stay plain, as with padding")
    if slope.min() <= 0 or _differ(grey, black + slope * _GREY / 255, slope):
        raise ValueError("its output is not a rescaling of the pixels")
    first, last = white.clone(), white.clone()
    first[1:], last[:2] = black[1:], black[:2]
    reversed_channels = not _differ(red, last, slope)
    if not reversed_channels and _differ(red, first, slope):
        raise ValueError("it mixes the channels")
    size = list(output.shape[2:])
    numbers = {
        "mean": [round(number, _DIGITS) for number in (-black / slope).tolist()],
        "std": [round(number, _DIGITS) for number in (1 / slope).tolist()],
        "size": None if size == [_PROBE, _PROBE] else size,
    }
    if reversed_channels:
        # Measured per channel of the network, returned per channel of the image.
        numbers |= {key: numbers[key][::-1] for key in ("mean", "std")}
    return {key: value for key, value in numbers.items() if value is not None}, reversed_channels


def _differ(found: torch.Tensor, expected: torch.Tensor, slope: torch.Tensor) -> bool:
    return bool(((found - expected).abs() > _TOLERANCE * slope).any())
