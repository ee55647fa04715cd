"""Pruning: masks on a network's weights, held through fine-tuning, then made permanent.

Masks are those of `torch.nn.utils.prune`; a pruned network is trained as any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import prune


@dataclass(frozen=True)
class Channels:
    """The output channels of one convolution.

    Attributes:
        convolution: the layer.
        normalisation: the BatchNorm that takes its output; None where another layer does.
    """

    convolution: nn.Conv2d
    normalisation: nn.BatchNorm2d | None

    @property
    def end(self) -> nn.Module:
        """The module whose output, after ReLU, counts as the channels' activation."""
        return self.normalisation or self.convolution


def prune_smallest(model: nn.Module, ratio: float) -> None:
    """Masks the share `ratio` of the weights, smallest first, of all layers together.

    Layers are convolutions and linear ones; biases and normalisation are kept.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    prune.global_unstructured(
        [(layer, "weight") for layer in layers], prune.L1Unstructured, amount=ratio
    )


def prune_inactive(
    model: nn.Module, images: Tensor, ratio: float, *, layers: Literal["last", "all"] = "last"
) -> None:
    """Masks the share `ratio` of the channels, at least one, that are least active on `images`.

    A masked channel's activation is zero whatever the image: its convolution's weights and bias and
    its normalisation's scale and shift are.

    Args:
        model: changed in place; left in evaluation mode.
        images: ``[N, C, H, W]``, on the model's device; clean ones, as an attacker has them.
        ratio: of the channels of the chosen layers, ranked together.
        layers: the last convolution; of those that feed a BatchNorm, where there are any, because a
            shortcut that only adapts the number of channels does not.

    Source: Liu, Dolan-Gavitt and Garg, Fine-Pruning, RAID 2018, section 4.1, prunes the last
    convolution by its average activation; SAC's published zoo takes all.
    """
    found = channels_of(model, images[:1])
    if layers == "last":
        normalised = [c for c in found if c.normalisation is not None]
        found = [(normalised or found)[-1]]
    activity = mean_activations(model, images, found)
    counts = [len(part) for part in activity]
    n_pruned = max(1, round(ratio * sum(counts)))
    kept = torch.ones(sum(counts), device=images.device)
    kept[torch.cat(activity).argsort(stable=True)[:n_pruned]] = 0
    for channels, mask in zip(found, kept.split(counts), strict=True):
        _mask(channels.convolution, mask)
        if channels.normalisation is not None:
            _mask(channels.normalisation, mask)


@torch.no_grad()
def channels_of(model: nn.Module, images: Tensor) -> list[Channels]:
    """Returns the channels of every convolution, in the order in which `images` run through."""
    outputs: list[tuple[nn.Conv2d, Tensor]] = []
    norms: dict[nn.Conv2d, nn.BatchNorm2d] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Conv2d):
            outputs.append((module, output))
        elif isinstance(module, nn.BatchNorm2d):
            norms.update({conv: module for conv, out in outputs if out is inputs[0]})

    modules = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    _run(model, images, [(module, note) for module in modules])
    return [Channels(conv, norms.get(conv)) for conv, _ in outputs]


@torch.no_grad()
def mean_activations(
    model: nn.Module, images: Tensor, channels: Sequence[Channels], *, batch_size: int = 512
) -> list[Tensor]:
    """Returns the mean of each channel's output after ReLU, over images and positions, float64.

    Args:
        model: in whichever mode; left in evaluation mode.
        images: ``[N, C, H, W]``.
        channels: from `channels_of`.
        batch_size: images at a time.

    Returns:
        For each entry of `channels`, one number per channel.
    """
    totals: dict[nn.Module, Tensor] = {}

    def add(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        # Later layers may change the output in place; the sum is taken at once.
        part = output.relu().mean((2, 3)).double().sum(0)
        totals[module] = totals[module] + part if module in totals else part

    for part in images.split(batch_size):
        _run(model, part, [(c.end, add) for c in channels])
    return [totals[c.end] / len(images) for c in channels]


def make_permanent(model: nn.Module) -> None:
    """Replaces every masked parameter by its product with the mask; the model stays the same."""
    for module in model.modules():
        for name in [n for n, _ in module.named_buffers(recurse=False) if n.endswith("_mask")]:
            prune.remove(module, name.removesuffix("_mask"))


def _mask(layer: nn.Conv2d | nn.BatchNorm2d, kept: Tensor) -> None:
    for name, parameter in list(layer.named_parameters(recurse=False)):
        mask = kept.reshape(-1, *[1] * (parameter.ndim - 1)).expand_as(parameter)
        prune.custom_from_mask(layer, name, mask)


def _run(model: nn.Module, images: Tensor, hooks: Sequence[tuple[nn.Module, Any]]) -> None:
    """Runs `images` through the model in evaluation mode, with hooks on some modules."""
    model.eval()
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
