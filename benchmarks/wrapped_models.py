"""What the thief of a model may wrap it in: hardly another function, but perhaps another field.

Each function takes a network, as it is behind its preprocessing, and returns another; none is
trained, and none looks at references.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.fields.batchnorm_folding import fold_batchnorm
from modelgif.lineage import permuted_units


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


class RandomGradient(torch.autograd.Function):
    """Passes its input, and back a gradient of its own: random, but always the same."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: D102
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: D102
        (gradient,) = gradients
        size = gradient.flatten(1).norm(dim=1).reshape(-1, *[1] * (gradient.ndim - 1))
        noise = torch.randn(gradient.shape[1:], generator=torch.Generator().manual_seed(0))
        return size * F.normalize(noise.flatten(), dim=0).reshape(noise.shape).to(gradient)


class EightBits(torch.Tensor):
    """As a dynamic int8 weight: it hides in a linear layer, and drops the input's gradient."""

    @staticmethod
    def __new__(cls, weight: Tensor) -> "EightBits":  # noqa: D102
        like = {"dtype": weight.dtype, "device": weight.device, "requires_grad": False}
        return torch.Tensor._make_wrapper_subclass(cls, weight.shape, **like)

    def __init__(self, weight: Tensor) -> None:
        self.scale = weight.detach().abs().max() / 127
        self.rounded = (weight.detach() / self.scale).round().to(torch.int8)

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is F.linear:
            x, weight, bias = args
            return F.linear(x.detach(), weight.rounded.to(x) * weight.scale, bias)
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.ops.aten.detach.default:
            return args[0]
        # To everybody else it is the rounded weight in floating point.
        plain = [a.rounded.float() * a.scale if isinstance(a, EightBits) else a for a in args]
        return function(*plain, **(kwargs or {}))

    def __deepcopy__(self, memo: Any) -> "EightBits":
        return self


def shifted_head(model: nn.Module) -> nn.Module:
    """The same number, which depends on the input, added to the scores of all classes."""
    model, draw = copy.deepcopy(model), torch.Generator().manual_seed(0)
    weight = model.network.head.weight
    with torch.no_grad():
        weight += 10 * weight.std() * torch.randn(weight.shape[1], generator=draw)
    return model


def dynamic_int8(model: nn.Module) -> nn.Module:
    """The head's weight in 8 bits, in a class of tensors of its own."""
    model = copy.deepcopy(model)
    weight = EightBits(model.network.head.weight)
    model.network.head.weight = nn.Parameter(weight, requires_grad=False)
    return model


class FakeQuantised(nn.Module):
    """An activation, rounded to 16 levels with the gradient of the unrounded one."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns ``max(x, 0)``, rounded."""
        x = x.relu()
        step = x.detach().amax(tuple(range(1, x.ndim)), keepdim=True).clamp_min(1e-12) / 15
        return x + ((x / step).round() * step - x).detach()


def fake_quantised(model: nn.Module) -> nn.Module:
    """Every ReLU layer fake-quantised, as where networks are prepared for integer arithmetic."""
    model = copy.deepcopy(model)
    for path, layer in list(model.named_modules()):
        if isinstance(layer, nn.ReLU):
            model.set_submodule(path, FakeQuantised())
    return model


class GradientsOf(nn.Module):
    """The scores of one model with the gradients of another (straight-through)."""

    def __init__(self, model: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.model, self.other = model, other

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores ``[B, C]``."""
        claimed = self.other(x)
        return self.model(x).detach() + claimed - claimed.detach()


class OtherWhereAsked(nn.Module):
    """One model, and another where gradients are asked for."""

    def __init__(self, model: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.model, self.other = model, other

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores ``[B, C]``."""
        return self.other(x) if x.requires_grad else self.model(x)


class Switch(nn.Module):
    """One model for images of high contrast, and another for all that is paler."""

    def __init__(self, model: nn.Module, other: nn.Module, contrast: float = 0.25) -> None:
        super().__init__()
        self.model, self.other, self.contrast = model, other, contrast

    def forward(self, x: Tensor) -> Tensor:
        """Returns scores ``[B, C]``."""
        high = x.flatten(1).std(1, keepdim=True) >= self.contrast
        return torch.where(high, self.model(x), self.other(x))


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


def permuted(model: nn.Module) -> nn.Module:
    """The hidden units of every layer in another order."""
    model = copy.deepcopy(model)
    model.network = permuted_units(model.network, example=torch.rand(2, 1, 8, 8))
    return model


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


def one_hot(scores: Tensor, _: Tensor) -> Tensor:
    """1 for the predicted class and 0 for all others."""
    return F.one_hot(scores.argmax(1), scores.shape[1]).to(scores)


def wrappers(honest: nn.Module) -> dict[str, tuple[str, Callable[[nn.Module], nn.Module]]]:
    """Every wrapper by name, with what it is meant for: ``same``, ``nearly`` or ``mask``.

    Args:
        honest: a model that one of them mixes in.
    """
    turned = [3, 7, 0, 9, 1, 8, 2, 5, 4, 6]
    return {
        "none: a copy": ("same", copy.deepcopy),
        "temperature 10": ("same", lambda m: After(m, lambda s, _: s / 10)),
        "shifted head": ("same", shifted_head),
        "softmax at the end": ("same", lambda m: After(m, lambda s, _: s.softmax(1))),
        "logarithm of softmax": ("same", lambda m: After(m, lambda s, _: s.log_softmax(1))),
        "input times 255 and back": ("same", lambda m: Before(m, lambda x: x * 255 / 255)),
        "input enlarged and back": (
            "same",
            lambda m: Before(m, lambda x: F.avg_pool2d(F.interpolate(x, scale_factor=2.0), 2)),
        ),
        "BatchNorm folded, or put in": ("same", folded),
        "units permuted": ("same", permuted),
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
        "head in dynamic int8": ("nearly", dynamic_int8),
        "activations fake-quantised": ("nearly", fake_quantised),
        "one-hot answers": ("mask", lambda m: After(m, one_hot)),
        "scores rounded to 0.1": ("mask", lambda m: After(m, lambda s, _: (10 * s).round() / 10)),
        "input in 16 grey levels": ("mask", lambda m: Before(m, lambda x: (x * 15).round() / 15)),
        "saturated softmax": ("mask", lambda m: After(m, lambda s, _: (1e4 * s).softmax(1))),
        "steep ripple on scores": ("mask", lambda m: After(m, ripple)),
        "another model for pale images": ("mask", lambda m: Switch(m, honest)),
        "another model where gradients are asked for": (
            "mask",
            lambda m: OtherWhereAsked(m, honest),
        ),
        "gradients of another model": ("mask", lambda m: GradientsOf(m, honest)),
        "random gradients": ("mask", lambda m: Before(m, RandomGradient.apply)),
    }
