"""A random projection of a vector that is far too long to be held, fed part by part.

A CountSketch adds each coordinate, under a random sign, to one of 2^p sums; three rounds of random
signs and a Hadamard transform then mix the sums, and `size` of them are kept. Both steps are linear
and keep inner products in the mean; with the mixing, every number kept is close to normally
distributed, however the vector's coordinates are concentrated.

Sources: Charikar et al., Finding Frequent Items in Data Streams, 2002 (CountSketch); Ailon and
Chazelle, The Fast Johnson–Lindenstrauss Transform, 2009; Andoni et al., Practical and Optimal LSH
for Angular Distance, 2015 (three rounds). Random numbers: Steele et al., Fast Splittable
Pseudorandom Number Generators, 2014 (SplitMix64).
"""

import hashlib

import torch
from torch import Tensor

_ROUNDS = 3
# Sums for each number kept. Were there no more sums than numbers, the errors would have the same
# variance, but more of it would come from rare meetings of two large coordinates in one sum.
_SUMS = 4
# Coordinates at once: as many as fit a processor's cache with their random numbers, and elsewhere
# as many as keep the device busy.
_AT_ONCE = {"cpu": 2**15}
_AT_ONCE_ELSEWHERE = 2**24


class RandomProjection:
    """A linear map of vectors of any length to `size` numbers, the same wherever it is computed.

    A vector comes in parts, in any order; a part has a name, and a coordinate its position in the
    part. The map depends on `seed`, `size`, the names and the positions alone. For unit vectors
    ``u`` and ``v``, the products of their projections have mean ``⟨u, v⟩``, and a variance of at
    most ``(1 + ⟨u, v⟩²) / size``.

    Args:
        size: numbers kept, at least 1.
        seed: another seed is another map.
        device: where the sums are.

    Raises:
        ValueError: for a size below 1.
    """

    def __init__(self, size: int, *, seed: int = 0, device: torch.device | str = "cpu") -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}.")
        self.size, self.seed = size, seed
        self._bits = (_SUMS * size - 1).bit_length()
        self._sums = torch.zeros(2**self._bits, dtype=torch.float64, device=device)

    def add(self, name: str, positions: Tensor, values: Tensor) -> None:
        """Adds coordinates ``[K]`` at integer `positions` ``[K]`` of the part `name`."""
        count = _AT_ONCE.get(self._sums.device.type, _AT_ONCE_ELSEWHERE)
        for at, some in zip(positions.split(count), values.split(count), strict=True):
            numbers = self._random(f"part {name}", at)
            buckets = _shifted(numbers, 64 - self._bits)
            self._sums.index_add_(0, buckets, some.double() * _signs(numbers))

    def result(self) -> Tensor:
        """Returns the projection of all that was added, float64 ``[size]``, of mean square 1.

        This is for a unit vector; the mean over entries of the product of two projections is the
        estimate of the inner product.
        """
        at = torch.arange(len(self._sums), device=self._sums.device)
        mixed = self._sums
        for turn in range(_ROUNDS):
            mixed = _hadamard(mixed * _signs(self._random(f"round {turn}", at)))
        kept = self._random("kept", at).argsort(stable=True)[: self.size]
        return mixed[kept] * len(self._sums) ** 0.5

    def _random(self, name: str, positions: Tensor) -> Tensor:
        """64 random bits for each position."""
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        # SplitMix64. Products of int64 wrap around, as they must.
        z = positions * -0x61C8864680B583EB + key
        z = (z ^ _shifted(z, 30)) * -0x40A7B892E31B1A47
        z = (z ^ _shifted(z, 27)) * -0x6B2FB644ECCEEE15
        return z ^ _shifted(z, 31)


def _shifted(numbers: Tensor, by: int) -> Tensor:
    """A logical shift to the right; that of torch repeats the sign."""
    return (numbers >> by) & ((1 << (64 - by)) - 1)


def _signs(numbers: Tensor) -> Tensor:
    """-1 or 1 by the lowest bit, which no bucket depends on."""
    return ((numbers & 1) * 2 - 1).double()


def _hadamard(x: Tensor) -> Tensor:
    """The orthonormal Walsh–Hadamard transform of ``[2^p]``."""
    size = len(x)
    half = 1
    while half < size:
        pairs = x.view(-1, 2, half)
        x = torch.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), 1)
        half *= 2
    return x.flatten() / size**0.5
