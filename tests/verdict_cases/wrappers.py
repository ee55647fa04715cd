"""What a suspect may be wrapped in: harmless changes, and attempts to look like another model."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


class Wrapped(nn.Module):
    """A network whose answer is `answer(network, x)`."""

    def __init__(
        self, network: nn.Module, answer: Callable[[nn.Module, Tensor], Tensor], *others: nn.Module
    ) -> None:
        super().__init__()
        self.network, self.others, self.answer = network, nn.ModuleList(others), answer

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.network, x)


def shifted_head(network: nn.Module, *, scale: float = 1.0, seed: int = 3) -> nn.Module:
    """One vector added to every class's row: the same probabilities."""
    copied = copy.deepcopy(network)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        copied.head.weight += scale * torch.randn(1, copied.head.in_features, generator=draw)
    return copied


def softmax(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda n, x: n(x).softmax(1))


def log_softmax(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda n, x: n(x).log_softmax(1))


def hotter(network: nn.Module) -> nn.Module:
    """A temperature, which changes confidence and no label."""
    return Wrapped(network, lambda n, x: n(x) / 3)


def permuted_classes(network: nn.Module) -> nn.Module:
    """The classes in another order: every label is another one."""
    return Wrapped(network, lambda n, x: n(x).roll(1, 1))


def one_hot(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda n, x: nn.functional.one_hot(n(x).argmax(1), 10) + 0.0 * n(x))


def rounded(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda n, x: (n(x).softmax(1) * 100).round() / 100)


def _low(x: Tensor) -> Tensor:
    """Where an image has little contrast, as towards a baseline of one colour."""
    return x.flatten(1).std(1, keepdim=True) < 0.2


def straight_through(network: nn.Module, other: nn.Module) -> nn.Module:
    """The answers of one network with the gradients of another."""
    return Wrapped(network, lambda n, x: n(x).detach() + (z := other(x)) - z.detach(), other)


def random_gradients(network: nn.Module) -> nn.Module:
    def answer(n: nn.Module, x: Tensor) -> Tensor:
        noise = (x * torch.randn_like(x)).flatten(1).sum(1, keepdim=True) * torch.randn(10)
        return n(x).detach() + noise - noise.detach()

    return Wrapped(network, answer)


def invented_gradients(network: nn.Module) -> nn.Module:
    """A gradient of the owner's making, the same at every image."""
    ramp = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)

    def answer(n: nn.Module, x: Tensor) -> Tensor:
        made = (x * ramp).flatten(1).sum(1, keepdim=True) * torch.arange(10.0)
        return n(x).detach() + made - made.detach()

    return Wrapped(network, answer)


def off_where_contrast_is_low(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda n, x: torch.where(_low(x), (y := n(x)).detach(), y))


def off_where_gradients_are_asked(network: nn.Module) -> nn.Module:
    """No gradient but a trace of one, so that none is missing."""
    return Wrapped(
        network, lambda n, x: n(x).detach() + 1e-9 * x.mean() if x.requires_grad else n(x)
    )


def another_off_the_data(network: nn.Module, other: nn.Module) -> nn.Module:
    """A true function, which is another model's where contrast is low."""
    return Wrapped(network, lambda n, x: torch.where(_low(x), other(x), n(x)), other)


def another_while_gradients_are_on(network: nn.Module, other: nn.Module) -> nn.Module:
    return Wrapped(
        network, lambda n, x: other(x) if torch.is_grad_enabled() and x.requires_grad else n(x)
    )


def not_finite_at_low_contrast(network: nn.Module) -> nn.Module:
    return Wrapped(network, lambda n, x: torch.where(_low(x), torch.nan, n(x)))


def raising(network: nn.Module) -> nn.Module:
    def answer(n: nn.Module, x: Tensor) -> Tensor:
        raise KeyError("logits")

    return Wrapped(network, answer)


def dropping(network: nn.Module) -> nn.Module:
    """Dropout that stays on in evaluation."""
    return Wrapped(network, lambda n, x: nn.functional.dropout(n(x), 0.3, training=True))


def centred_in_the_batch(network: nn.Module) -> nn.Module:
    """Answers depend on the other images."""
    return Wrapped(network, lambda n, x: (y := n(x)) - y.mean(0))


def batch_statistics(network: nn.Module) -> nn.Module:
    """BatchNorm takes the statistics of the batch in evaluation, too."""
    copied = copy.deepcopy(network)
    for layer in copied.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = False
            layer.running_mean = layer.running_var = None
    return copied


class _Dropping(torch.autograd.Function):
    """Passes no gradient, and does not say so."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return torch.zeros_like(gradients[0])


class IntegerWeight(Tensor):
    """A weight whose class does the arithmetic, as those of dynamic int8 layers do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is nn.functional.linear:
            x, weight, *bias = args
            return nn.functional.linear(
                _Dropping.apply(x), weight.as_subclass(Tensor), *bias, **(kwargs or {})
            )
        return super().__torch_function__(func, types, args, kwargs)


def dynamic_int8(network: nn.Module) -> nn.Module:
    """A head that keeps its class and drops the gradient."""
    copied = copy.deepcopy(network)
    weight = copied.head.weight.detach()
    scale = weight.abs().amax(1, keepdim=True) / 127
    coarse = ((weight / scale).round() * scale).as_subclass(IntegerWeight)
    copied.head.weight = nn.Parameter(coarse)
    return copied


def pruned(network: nn.Module, share: float = 0.3) -> nn.Module:
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for weight in copied.parameters():
            if weight.ndim > 1:
                weight *= weight.abs() > weight.abs().flatten().quantile(share)
    return copied


def in_half_precision(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).bfloat16().float()
