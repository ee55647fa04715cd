"""Seeds that nobody else is likely to use."""

import numpy as np

# Beyond every seed that people choose, and 32 bits: torch's CPU generator ignores the others, so
# that 2**32 + 42 would be 42.
_RANGE = (10**9, 2**32)


def private_seeds(seed: int, count: int) -> tuple[int, ...]:
    """Returns distinct seeds that nobody else is likely to use, from 10^9 to 2^32.

    Two models whose makers both choose the seed 42 start with the same weights, which looks like a
    common origin, because it is one.

    Args:
        seed: not negative; the same seed gives the same beginning, whatever the count.
        count: how many.

    Raises:
        ValueError: for a negative seed.

    Example:
        >>> private_seeds(0, 3) == private_seeds(0, 5)[:3]
        True
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}.")
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    seeds: dict[int, None] = {}
    while len(seeds) < count:
        seeds[int(generator.integers(*_RANGE))] = None
    return tuple(seeds)
