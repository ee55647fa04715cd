"""The network of an address, whatever its scheme."""

from collections.abc import Collection

import torch

from modelgif.loading.address import Address
from modelgif.loading.scheme import Built
from modelgif.loading.schemes import find_scheme


def build_network(
    address: Address, *, download: bool = False, trust: Collection[str] = ()
) -> Built:
    """Returns the network of an address, and the preprocessing that it is known to need.

    Random weights come from the address's seed, and torch's random state is left as it was.

    Args:
        address: see `modelgif.loading.address.parse_address`.
        download: whether missing files may be fetched.
        trust: what may run code, see `modelgif.load_model`.

    Raises:
        Exception: what the scheme's `build` raises.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(address.seed)
        return find_scheme(address.scheme).build(address, download=download, trust=trust)
