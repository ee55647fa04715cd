"""A network with its hidden units in another order: the same function, other weights."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from modelgif.lineage._unit_sets import permute, unit_sets
from modelgif.lineage.model_tensors import network_of, plain_name


def permuted_units(model: nn.Module, *, example: Tensor | None = None, seed: int = 0) -> nn.Module:
    """Returns a copy of a network with every set of its hidden units in a random order.

    It computes the same function, and `origin_test` does not recognise it: an attack to test
    defences with. See `aligned_similarity`.

    Args:
        model: a module; a wrapper for preprocessing is kept.
        example: see `unit_sets`.
        seed: of the orders.

    Example:
        >>> network = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> other, x = permuted_units(network), torch.randn(3, 5)
        >>> torch.allclose(network(x), other(x), atol=1e-5)
        True
        >>> torch.equal(network[0].weight, other[0].weight)
        False
    """
    found = copy.deepcopy(model)
    network = network_of(found)
    assert network is not None
    sets = unit_sets(network, example=example)
    rng = np.random.default_rng(seed)
    orders = {s.atom: rng.permutation(s.size) for s in sets.sets}
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    # A pruned tensor goes by its plain name in the sets, its mask moves along with it.
    axes = {name: sets.axes.get(plain_name(name.removesuffix("_mask")), ()) for name in tensors}
    with torch.no_grad():
        for name, value in permute(tensors, axes, orders).items():
            if value is not tensors[name]:
                tensors[name].copy_(value)
    return found
