"""The cosine distance of two unit vectors, estimated from their random projections.

Projections are kept as numbers, or as signs of one bit each. Their entries are taken to be jointly
normal, with correlation ρ = ⟨u, v⟩:

- numbers x, y: with p = mean(xy) and q = mean(x² + y²) / 2, whose means are ρ and, since both
  vectors have length 1, exactly 1, the estimate is p − c (q − 1) with c = 2ρ / (1 + ρ²). Its
  standard error is (1 − ρ²) / √((1 + ρ²) m), that of the maximum of the likelihood (Li, Hastie and
  Church, Improving Random Projections Using Marginal Information, COLT 2006). It vanishes as the
  vectors come together.
- signs: two of them differ with probability θ / π, where cos θ = ρ (Goemans and Williamson, 1995;
  Charikar, 2002). The number that differs is binomial.
"""

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
import scipy.special
import torch
from torch import Tensor

NumberFormat = Literal["float32", "float16", "sign"]
NUMBER_FORMATS: tuple[str, ...] = get_args(NumberFormat)

# Largest relative error of a rounded number.
_ROUNDING = {"float32": 2**-24, "float16": 2**-11}


class Interval(NamedTuple):
    """The least and the greatest distance that the true one may be, each ``[...]``."""

    low: Tensor
    high: Tensor


def pack_signs(numbers: Tensor) -> Tensor:
    """Returns the signs of `numbers` ``[..., 8 k]`` as uint8 ``[..., k]`` on the host, 8 per byte.

    Raises:
        ValueError: when there are not 8 for each byte.
    """
    if numbers.shape[-1] % 8:
        raise ValueError(f"signs are packed 8 per byte, got {numbers.shape[-1]} of them.")
    packed = np.packbits((numbers > 0).cpu().numpy(), axis=-1, bitorder="little")
    return torch.from_numpy(packed)


def estimate_from_numbers(x: Tensor, y: Tensor) -> Tensor:
    """Returns the estimated distances of all rows of `x` ``[A, m]`` and `y` ``[B, m]``.

    They are ``[A, B]``, in [0, 2] and in the precision of the numbers but no less than float32, and
    0 for equal rows up to rounding.
    """
    if not x.is_floating_point() or x.element_size() < 4:
        x, y = x.float(), y.float()
    size = x.shape[1]
    product = x @ y.T / size
    square = (x.square().sum(1)[:, None] + y.square().sum(1)) / (2 * size)
    near = (product / square).clamp(-1, 1)
    share = 2 * near / (1 + near.square())
    # As 1 - product would lose what near vectors differ by.
    distance = (square - product) + (1 - share) * (1 - square)
    return distance.clamp(0, 2)


def estimate_from_signs(differing: Tensor, size: int) -> Tensor:
    """Returns the estimated distances, float64, for how many of `size` signs differ."""
    return 1 - (math.pi * differing.double() / size).cos()


def count_differing(x: Tensor, y: Tensor) -> Tensor:
    """Returns how many signs differ between packed rows, int64 ``[...]``.

    Args:
        x: uint8 ``[..., k]``, on the host.
        y: uint8, of the same shape or one that broadcasts to it, on the host.
    """
    differing = x.numpy() ^ y.numpy()
    lacking = -differing.shape[-1] % 8
    if lacking:
        differing = np.pad(differing, [(0, 0)] * (differing.ndim - 1) + [(0, lacking)])
    # Eight bytes at a time.
    ones = np.bitwise_count(differing.view(np.uint64))
    return torch.as_tensor(ones.sum(-1, dtype=np.int64))


def interval(
    distance: Tensor, size: int, number_format: NumberFormat, confidence: float
) -> Interval:
    """Returns the interval that holds the true distance with probability `confidence`.

    It holds all distances from which an estimate as far off as this one is not too improbable (for
    signs, Wilson's interval), so that it is wider than estimate ± standard errors where these grow.

    Args:
        distance: estimates ``[...]``.
        size: numbers or signs of a projection.
        number_format: how the projections are kept.
        confidence: between 0 and 1.

    Raises:
        ValueError: for a `confidence` outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}.")
    z = math.sqrt(2) * float(scipy.special.erfinv(confidence))
    distance = distance.double()
    if number_format == "sign":
        share = (1 - distance).clamp(-1, 1).acos() / math.pi
        centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
        spread = (share * (1 - share) / size + z**2 / (4 * size**2)).sqrt() * z / (1 + z**2 / size)
        ends = [(centre + side * spread).clamp(0, 1) for side in (-1, 1)]
        low, high = (1 - (math.pi * end).cos() for end in ends)
        return Interval(low, high)
    low, high = distance, distance
    # Each end is where its own standard error puts it; the steps contract by the share z/√size.
    for _ in range(30):
        low = (distance - z * standard_error(low, size, number_format)).clamp(0, 2)
        high = (distance + z * standard_error(high, size, number_format)).clamp(0, 2)
    bias = 2 * _ROUNDING[number_format] ** 2
    return Interval((low - bias).clamp(0, 2), (high + bias).clamp(0, 2))


def standard_error(distance: Tensor, size: int, number_format: NumberFormat) -> Tensor:
    """Returns the standard error ``[...]`` of estimates at true distances ``[...]``, float64."""
    cosine = 1 - distance.double().clamp(0, 2)
    if number_format == "sign":
        angle = cosine.acos()
        return angle.sin() * (angle * (math.pi - angle) / size).sqrt()
    projection = (1 - cosine.square()).square() / (1 + cosine.square())
    # What rounding both projections adds.
    rounding = 4 * distance.double() * _ROUNDING[number_format] ** 2
    return ((projection + rounding) / size).sqrt()
