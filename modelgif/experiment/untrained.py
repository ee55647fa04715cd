"""Untrained networks behind the normalisation of the images they are to learn."""

import torch
from torch import Tensor

from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed


def untrained(
    architecture: str, images: Tensor, *, seed: int, device: torch.device | str
) -> Preprocessed:
    """Returns the network at an address with random weights, for images normalised by channel.

    Args:
        architecture: address of the network, with a query.
        images: ``[N, C, H, W]``, whose means and standard deviations per channel it is given.
        seed: of the weights.
        device: where it is put.
    """
    numbers = {"mean": images.mean((0, 2, 3)).tolist(), "std": images.std((0, 2, 3)).tolist()}
    query = "".join(f"&{key}={','.join(map(str, v))}" for key, v in numbers.items())
    return load_model(f"{architecture}{query}&seed={seed}", device=device)
