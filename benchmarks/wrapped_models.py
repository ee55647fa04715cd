"""What the thief of a model may wrap it in: hardly another function, but perhaps another field.

Each function takes a network, as it is behind its preprocessing, and returns another; none is
trained, and none looks at references.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.fields.batchnorm_folding import fold_batchnorm


class After(nn.Module):
    """A model whose scores go through `change`, which may look at the input, too."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x: Tensor) -> Tensor:
        """Returns the changed scores ``[B, C]``."""
        return self.change(self.model(x), x)


class Before(nn.Module):
    """A model that sees its input through `change`."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x: Tensor) -> Tensor:
        """Returns the scores ``[B, C]`` of changed inputs."""
        return self.model(self.change(x))


class Lie(torch.autograd.Function):
    """Passes its input, and back a gradient of its own: random, but always the same."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: D102
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: D102
        (gradient,) = gradients
        size = gradient.flatten(1).norm(dim=1).reshape(-1, *[1] * (gradient.ndim - 1))
        noise = torch.randn(gradient.shape[1:], generator=torch.Generator().manual_seed(0))
        return size * F.normalize(noise.flatten(), dim=0).reshape(noise.shape)


def folded(model: nn.Module) -> nn.Module:
    """BatchNorm folded into convolutions; where there is none, one is put behind each first."""
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()):
        return unfolded(model)
    # Preprocessing looks at the input's shape, so the network is traced without it.
    copied: Any = copy.deepcopy(model)
    copied.network, _ = fold_batchnorm(copied.network, torch.rand(4, 1, 8, 8))
    return copied


def unfolded(model: nn.Module) -> nn.Module:
    """A BatchNorm behind each convolution, which takes away what it adds."""
    model, draw = copy.deepcopy(model), torch.Generator().manual_seed(0)
    for path, layer in list(model.named_modules()):
        if isinstance(layer, nn.Conv2d):
            norm: Any = nn.BatchNorm2d(layer.out_channels)
            state = norm.state_dict()
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[name] = torch.rand(layer.out_channels, generator=draw) + 0.5
            norm.load_state_dict(state)
            before, bias = copy.deepcopy(layer), layer.bias
            scale = (norm.running_var + norm.eps).sqrt() / norm.weight
            zero = torch.zeros(layer.out_channels)
            with torch.no_grad():
                before.weight *= scale.reshape(-1, 1, 1, 1)
                shift = ((zero if bias is None else bias) - norm.bias) * scale
                before.bias = nn.Parameter(shift + norm.running_mean)
            model.set_submodule(path, nn.Sequential(before, norm))
    return model.eval()


def permuted_channels(model: nn.Module) -> nn.Module:
    """The channels between layers in another order."""
    copied: Any = copy.deepcopy(model)
    draw = torch.Generator().manual_seed(0)
    for givers, taker in _neighbours(copied.network):
        order = torch.randperm(len(givers[0].weight), generator=draw)
        with torch.no_grad():
            for giver in givers:
                for name, values in giver.state_dict().items():
                    if values.ndim:
                        giver.state_dict()[name].copy_(values[order].clone())
            taker.weight.copy_(taker.weight[:, order].clone())
    return copied


def _neighbours(network: Any) -> Iterator[tuple[list[Any], Any]]:
    """Layers that give channels, and the one that takes them, in the demo's two architectures."""
    layers = list(network.features)
    plain = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    if plain:
        for giver, taker in zip(plain, [*plain[1:], network.head], strict=True):
            yield [giver], taker
    for block in layers:
        if hasattr(block, "shortcut"):
            yield [block.first[0], block.first[1]], block.second[0]


def rounded(model: nn.Module, bits: int) -> nn.Module:
    """Weights rounded to so many bits, with one scale for each layer, and turned back."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for weight in model.parameters():
            step = weight.abs().max() / (2 ** (bits - 1) - 1)
            weight.copy_((weight / step).round() * step)
    return model


def noisy(model: nn.Module, share: float) -> nn.Module:
    """Weights with noise of some share of each layer's standard deviation."""
    model, draw = copy.deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += share * weight.std() * torch.randn(weight.shape, generator=draw)
    return model


def half(model: nn.Module) -> nn.Module:
    """Weights rounded to half precision."""
    return copy.deepcopy(model).half().float()


def ripple(scores: Tensor, x: Tensor) -> Tensor:
    """Adds to each score a wave of the input that is small and steep."""
    draw = torch.Generator().manual_seed(0)
    waves = torch.randn(x[0].numel(), scores.shape[1], generator=draw).to(x)
    return scores + 0.05 * torch.sin(300 * x.flatten(1) @ waves)


def wrappers(honest: nn.Module) -> dict[str, tuple[str, Callable[[nn.Module], nn.Module]]]:
    """Every wrapper by name, with what it is meant for: ``same``, ``nearly`` or ``mask``.

    Args:
        honest: a model that one of them mixes in.
    """
    turned = [3, 7, 0, 9, 1, 8, 2, 5, 4, 6]
    return {
        "none: a copy": ("same", copy.deepcopy),
        "temperature 10": ("same", lambda m: After(m, lambda s, _: s / 10)),
        "softmax": ("same", lambda m: After(m, lambda s, _: s.softmax(1))),
        "logarithm of softmax": ("same", lambda m: After(m, lambda s, _: s.log_softmax(1))),
        "input times 255 and back": ("same", lambda m: Before(m, lambda x: x * 255 / 255)),
        "input enlarged and back": (
            "same",
            lambda m: Before(m, lambda x: F.avg_pool2d(F.interpolate(x, scale_factor=2.0), 2)),
        ),
        "BatchNorm folded, or put in": ("same", folded),
        "channels permuted": ("same", permuted_channels),
        "classes permuted": ("same", lambda m: After(m, lambda s, _: s[:, turned])),
        "weights in half precision": ("nearly", half),
        "weights in 8 bits": ("nearly", lambda m: rounded(m, 8)),
        "weights in 4 bits": ("nearly", lambda m: rounded(m, 4)),
        "noise of 1 % on weights": ("nearly", lambda m: noisy(m, 0.01)),
        "noise of 10 % on weights": ("nearly", lambda m: noisy(m, 0.1)),
        "a fifth of an honest model": (
            "nearly",
            lambda m: After(m, lambda s, x: 0.8 * s + 0.2 * honest(x)),
        ),
        "input in 16 grey levels": ("mask", lambda m: Before(m, lambda x: (x * 15).round() / 15)),
        "saturated softmax": ("mask", lambda m: After(m, lambda s, _: (1e4 * s).softmax(1))),
        "scores rounded to 0.01": (
            "mask",
            lambda m: After(m, lambda s, _: (100 * s).round() / 100),
        ),
        "steep ripple on scores": ("mask", lambda m: After(m, ripple)),
        "invented gradient": ("mask", lambda m: Before(m, Lie.apply)),
    }
