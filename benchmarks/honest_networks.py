"""Honest networks of many kinds: small random ones, trained or not, and published architectures.

Each is made from its name alone, so that a run can go on where it stopped.
"""

import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torchvision
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.loading.preprocessing import Preprocessed

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "relu6": nn.ReLU6,
    "leaky relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "hardtanh": nn.Hardtanh,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "group": lambda c: nn.GroupNorm(2, c),
    "layer": lambda c: nn.GroupNorm(1, c),
    "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
    "channel layer": lambda c: _ChannelLayerNorm(c),
    "local response": lambda _: nn.LocalResponseNorm(3),
}
POOLS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "max": lambda: nn.MaxPool2d(2),
    "overlapping max": lambda: nn.MaxPool2d(3, 2, 1),
    "average": lambda: nn.AvgPool2d(2),
}
BLOCKS = ("conv", "residual", "depthwise", "squeeze", "attention", "mixer", "dense", "dropout")
TAILS: dict[str, Callable[[Tensor], Tensor]] = {
    "logits": lambda s: s,
    "softmax": lambda s: s.softmax(1),
    "log-softmax": lambda s: s.log_softmax(1),
    "sigmoid": lambda s: s.sigmoid(),
    "temperature": lambda s: s / 20,
}
FORMATS = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
# Beyond this many weights an architecture takes too long on one thread.
_MOST_WEIGHTS = 8_000_000


@dataclass(frozen=True)
class Honest:
    """A network, and where it is looked at.

    Attributes:
        model: the network.
        references: ``[N, C, H, W]``.
        baseline: a number or one per channel.
        target: by name.
        about: what it is made of.
    """

    model: nn.Module
    references: Tensor
    baseline: float | Tensor
    target: str
    about: str


def names(small: int) -> Iterator[str]:
    """Gives the names of all networks: architectures spread among the small ones."""
    others = [*_timm_names(), *_torchvision_names()]
    every = max(1, small // max(1, len(others)))
    for i in range(small):
        yield f"small:{i}"
        if i % every == every - 1 and others:
            yield others.pop(0)
    yield from others


def make(name: str) -> Honest:
    """Returns the network of a name.

    Raises:
        ValueError: for an architecture that is too large or takes no small images.
    """
    scheme, _, rest = name.partition(":")
    draw = random.Random(name)
    torch.manual_seed(zlib.crc32(name.encode()))
    if scheme == "small":
        return _small(draw)
    model, size = (_torchvision if scheme == "torchvision" else _timm)(rest)
    model.eval()
    images = _images(draw, 3, size)
    target = draw.choice(["predicted_class", "class_contrast"])
    whole = Preprocessed(model, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    return Honest(whole, images, draw.choice([0.0, 0.5]), target, f"at {size}")


def _small(draw: random.Random) -> Honest:
    channels, size = draw.choice([1, 3]), draw.choice([8, 12, 16])
    images = _images(draw, channels, size)
    width, n_classes = 2 * draw.randint(2, 8), draw.choice([2, 3, 10, 30])
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=draw.random() < 0.7)]
    about = []
    for _ in range(draw.randint(1, 4)):
        block, norm = draw.choice(BLOCKS), draw.choice(list(NORMS))
        if block == "attention" and norm == "instance":
            # Where its output is transposed, torch 2.15 gives a wrong gradient on the CPU.
            norm = "group"
        activation, pool = draw.choice(list(ACTIVATIONS)), draw.choice(list(POOLS))
        if size < 4:
            pool = "none"
        size = size if pool == "none" else size // 2
        layers += [_Block(block, norm, activation, width), POOLS[pool]()]
        about.append(f"{block}/{norm}/{activation}/{pool}")
    if draw.random() < 0.6:
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes)]
    else:
        layers += [nn.Flatten(), nn.LazyLinear(n_classes)]
    network = nn.Sequential(*layers)
    network.eval()(images[:2])
    steps = draw.choice([0, 0, 20, 60])
    if steps:
        _train(network, images, n_classes, steps)
    tail, form = draw.choice(list(TAILS)), draw.choice(["float32"] * 5 + list(FORMATS))
    model: nn.Module = _Tail(network, tail, clamp=draw.random() < 0.15).to(FORMATS[form])
    if draw.random() < 0.5:
        model = Preprocessed(model, mean=0.4, std=0.25)
    mean = images.mean((0, 2, 3), keepdim=True)
    baseline = draw.choice([0.0, 0.5, mean])
    target = draw.choice(["predicted_class", "class_contrast", "class_contrast"])
    start = "mean" if baseline is mean else baseline
    what = [*about, tail, form, f"{steps} steps", f"baseline {start}"]
    return Honest(model.eval(), images, baseline, target, ", ".join(what))


def _images(draw: random.Random, channels: int, size: int) -> Tensor:
    """Eight digits with flat areas, smooth colours, or noise."""
    kind, noise = draw.choice(["digits", "smooth", "noise"]), torch.rand(8, channels, size, size)
    if kind == "noise":
        return noise
    if kind == "smooth":
        return F.interpolate(torch.rand(8, channels, 4, 4), size, mode="bicubic").clamp(0, 1)
    first = draw.randrange(1700)
    digits = torch.tensor(load_digits(return_X_y=True)[0][first : first + 8] / 16).float()
    digits = digits.reshape(-1, 1, 8, 8)
    mode = draw.choice(["nearest", "bilinear"])
    return F.interpolate(digits, size, mode=mode).expand(-1, channels, -1, -1).contiguous()


def _train(network: nn.Module, images: Tensor, n_classes: int, steps: int) -> None:
    """Teaches a few images by heart."""
    labels = torch.arange(len(images)) % n_classes
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    network.train()
    for _ in range(steps):
        batch = (images + 0.05 * torch.randn_like(images)).clamp(0, 1)
        loss = F.cross_entropy(network(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval().requires_grad_(True)


class _ChannelLayerNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class _Tail(nn.Module):
    def __init__(self, network: nn.Module, tail: str, *, clamp: bool) -> None:
        super().__init__()
        self.network, self.tail, self.clamp = network, tail, clamp

    def forward(self, x: Tensor) -> Tensor:
        return TAILS[self.tail](self.network(x.clamp(0, 1) if self.clamp else x))


class _Block(nn.Module):
    """One block ``[B, W, H, W'] -> [B, W, H, W']`` of a kind."""

    def __init__(self, kind: str, norm: str, activation: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        groups = width if kind == "depthwise" else 1
        self.first = nn.Conv2d(width, width, 3, padding=1, groups=groups)
        self.norm, self.act = NORMS[norm](width), ACTIVATIONS[activation]()
        self.second = nn.Conv2d(width, width, 1)
        if kind == "attention":
            self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        if kind == "mixer":
            self.mixed = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind in ("attention", "mixer"):
            tokens = self.norm(x).flatten(2).transpose(1, 2)
            if self.kind == "attention":
                mixed = self.attention(tokens, tokens, tokens, need_weights=False)[0]
            else:
                mixed = self.act(self.mixed(tokens))
            return x + self.act(self.second(mixed.transpose(1, 2).reshape(x.shape)))
        y = self.act(self.norm(self.first(x)))
        if self.kind == "conv":
            return y
        if self.kind == "squeeze":
            return x + y * self.second(y.mean((2, 3), keepdim=True)).sigmoid()
        if self.kind == "dense":
            return self.act(self.second(y) + self.first(y))
        return x + self.second(self.dropout(y) if self.kind == "dropout" else y)


def _torchvision_names() -> list[str]:
    found = torchvision.models.list_models(module=torchvision.models)
    return [f"torchvision:{name}" for name in found]


def _torchvision(name: str) -> tuple[nn.Module, int]:
    more = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    size = 224 if name.startswith(("vit_", "maxvit")) else 96 if "inception" in name else 64
    with torch.device("meta"):
        _refuse_large(torchvision.models.get_model(name, weights=None))
    model = torchvision.models.get_model(name, weights=None, num_classes=10, **more)
    return model, size


def _timm_names() -> list[str]:
    """The ``test_`` models, and of each file of architectures the two that sound smallest."""
    small = re.compile(r"atto|femto|pico|nano|tiny|xxs|_xs|_s0|_00|small|18|b0|_t\b|_s\b|lite|mini")
    found = list(timm.list_models("test_*"))
    for module in timm.list_modules():
        here = sorted(timm.list_models(module=module), key=lambda n: (not small.search(n), len(n)))
        found += [name for name in here if name not in found][:2]
    return [f"timm:{name}" for name in found]


def _timm(name: str) -> tuple[nn.Module, int]:
    with torch.device("meta"):
        _refuse_large(timm.create_model(name))
    trained = timm.get_pretrained_cfg(name)
    size = trained.input_size[1] if trained else 224
    tries: tuple[tuple[int, dict[str, Any]], ...] = ((64, {"img_size": 64}), (64, {}), (size, {}))
    for smaller, options in tries:
        try:
            model = timm.create_model(name, num_classes=10, **options).eval()
            with torch.no_grad():
                model(torch.rand(1, 3, smaller, smaller))
        except (TypeError, RuntimeError, AssertionError, ValueError, KeyError, AttributeError):
            continue
        return model, smaller
    raise ValueError(f"{name} takes no images of {size} pixels.")


def _refuse_large(model: nn.Module) -> None:
    count = sum(weight.numel() for weight in model.parameters())
    if count > _MOST_WEIGHTS:
        raise ValueError(f"{count:,} weights are too many here.")
