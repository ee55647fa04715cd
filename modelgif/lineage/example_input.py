"""Inputs to try when none is given: of the sizes that networks for images are made for."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

# Small ones first, since they cost least; 28 and 224 are those of many fixed-size networks.
_SIDES = (32, 64, 28, 96, 224, 128, 8, 16, 256, 299, 384)
_BATCH = 2


def example_inputs(network: nn.Module) -> Iterator[Tensor]:
    """Returns inputs that the first layer could take, the likeliest first."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            dims = module.weight.ndim - 2
            sides = [*_own_sides(network), *_SIDES] if dims == 2 else _SIDES
            for side in dict.fromkeys(sides):
                shape = (_BATCH, module.in_channels, *[side] * dims)
                if side**dims <= 2**18:
                    yield torch.randn(shape, generator=generator)
            return
        if isinstance(module, nn.Linear):
            yield torch.randn(_BATCH, module.in_features, generator=generator)
            yield torch.randn(_BATCH, 16, module.in_features, generator=generator)
            side = round(module.in_features**0.5)
            if side * side == module.in_features:
                yield torch.randn(_BATCH, 1, side, side, generator=generator)
            return
        if isinstance(module, nn.Embedding):
            yield torch.randint(module.num_embeddings, (_BATCH, 8), generator=generator)
            return


def _own_sides(network: nn.Module) -> list[int]:
    """The side of the images that a network with fixed positions says it takes."""
    places = [getattr(network, "patch_embed", None), network]
    for place in places:
        for name in ("img_size", "image_size"):
            value = getattr(place, name, None)
            value = value[0] if isinstance(value, tuple | list) and value else value
            if isinstance(value, int) and 0 < value <= 4096:
                return [value]
    config = getattr(network, "config", None)
    value = getattr(config, "image_size", None)
    return [value] if isinstance(value, int) and 0 < value <= 4096 else []
