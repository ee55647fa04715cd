"""Pruning: a part of the victim's network removed, and the rest fine-tuned."""

from typing import Literal

import torch
from torch import Tensor, nn

from intellectual_property_protection.models.pruning import prune_inactive, prune_smallest
from intellectual_property_protection.recipe import Recipe


def _weights(model: nn.Module, images: Tensor, *, generator: torch.Generator, ratio: float) -> None:
    prune_smallest(model, ratio)


def _channels(
    model: nn.Module,
    images: Tensor,
    *,
    generator: torch.Generator,
    ratio: float,
    layers: Literal["last", "all"],
) -> None:
    prune_inactive(model, images, ratio, layers=layers)


RECIPES = (
    Recipe(
        name="prune",
        does="its smallest weights removed, then fine-tuned",
        family="pruned",
        start="parent",
        change=_weights,
        needs_ratio=True,
        settings="finetune",
    ),
    Recipe(
        name="fine_prune",
        does="its least active channels removed, then fine-tuned",
        family="pruned",
        start="parent",
        change=_channels,
        change_options={"layers": "fine_prune_layers"},
        needs_ratio=True,
        settings="finetune",
    ),
)
