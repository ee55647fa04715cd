"""Faster versions of a model to describe, each kept only where it works."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from modelgif.distances.distance import distance
from modelgif.fields.batchnorm_folding import fold_batchnorm
from modelgif.fields.field_settings import FieldSettings
from modelgif.fields.gradient_field import field_of
from modelgif.fields.model import frozen, scores

Autocast = Literal["bfloat16", "float16"]


@dataclass(frozen=True)
class Acceleration:
    """What may be done to a model to describe it faster; nothing unless asked for.

    Attributes:
        fold_batchnorm: see `modelgif.fields.batchnorm_folding`; changes a field by rounding.
        channels_last: weights and images with the channels together, which convolutions on the
            CPU and on tensor cores are fastest with; changes a field by rounding.
        autocast: number format of matrix products and convolutions. Changes a field by more than
            rounding: see `autocast_distance`.
        compile: `torch.compile`, which takes a minute before the first pass.
        cuda_graphs: recorded passes of one size, for models of many small operations on CUDA.
    """

    fold_batchnorm: bool = False
    channels_last: bool = False
    autocast: Autocast | None = None
    compile: bool = False
    cuda_graphs: bool = False


def accelerate(
    model: nn.Module, example: Tensor, acceleration: Acceleration
) -> tuple[nn.Module, list[str]]:
    """Returns a model of the same outputs that takes less time, and a line on each thing tried.

    What does not work for this model or device is left out, and its line says why.

    Args:
        model: left as it is.
        example: inputs ``[B, *input_shape]`` on the device and in the precision of the model, as
            many as will pass at a time.
        acceleration: what to try.
    """
    notes: list[str] = []
    with frozen(model):
        if acceleration.fold_batchnorm:
            model, note = fold_batchnorm(model, example[:2])
            notes.append(note)
        model = copy.deepcopy(model).eval().requires_grad_(False)
        tries: list[tuple[str, bool, Callable[[nn.Module], nn.Module]]] = [
            ("channels_last", acceleration.channels_last, _ChannelsLast),
            (
                f"{acceleration.autocast} autocast",
                acceleration.autocast is not None,
                lambda m: _Autocast(m, acceleration.autocast, example.device.type),
            ),
            ("torch.compile", acceleration.compile, _Compiled),
            ("CUDA graphs", acceleration.cuda_graphs, lambda m: _Recorded(m, example)),
        ]
        for name, wanted, change in tries:
            if not wanted:
                continue
            try:
                changed = change(model)
                _pass(changed, example)
            except Exception as error:
                # Compilers and recorders fail in classes of their own, of which torch makes no
                # list; the model without them is as good.
                reason = str(error).strip().partition("\n")[0][:200]
                notes.append(f"no {name}: {type(error).__name__}: {reason}")
            else:
                model = changed
                notes.append(name)
    return model, notes


def autocast_distance(
    model: nn.Module, references: Tensor, autocast: Autocast, settings: FieldSettings
) -> float:
    """Returns the distance of the field under autocast from the field without, on a sample.

    Args:
        model: in float32.
        references: the sample ``[N, *input_shape]``, on the model's device.
        autocast: the number format.
        settings: of the fields.
    """
    cast, notes = accelerate(model, references, Acceleration(autocast=autocast))
    if notes != [f"{autocast} autocast"]:
        raise ValueError(f"the model does not run under autocast: {'; '.join(notes)}")
    fields = [field_of(m, references, settings) for m in (model, cast)]
    return float(distance(*fields))


class _ChannelsLast(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> object:
        return self.model(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)


class _Autocast(nn.Module):
    def __init__(self, model: nn.Module, autocast: Autocast | None, device: str) -> None:
        super().__init__()
        self.model, self.device = model, device
        self.dtype = getattr(torch, autocast or "float32")

    def forward(self, x: Tensor) -> Tensor:
        # Without its cache of cast weights, which recorded passes could not use.
        with torch.autocast(self.device, self.dtype, cache_enabled=False):
            output = self.model(x)
        return scores(output, len(x)).float()


class _Compiled(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = torch.compile(model)

    def forward(self, x: Tensor) -> object:
        with warnings.catch_warnings():
            # The compiler looks at the gradient of its input, which is not a leaf.
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not")
            return self.model(x)


class _Recorded(nn.Module):
    """Replays passes recorded for inputs of one shape; others run as usual."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        super().__init__()
        if example.device.type != "cuda":
            raise ValueError(f"they need a CUDA device, this is {example.device.type}")
        self.model, self.shape = model, example.shape
        self._replay = torch.cuda.make_graphed_callables(
            model, (example.detach().clone().requires_grad_(),)
        )

    def forward(self, x: Tensor) -> object:
        recorded = x.shape == self.shape and x.requires_grad and torch.is_grad_enabled()
        return self._replay(x) if recorded else self.model(x)


def _pass(model: nn.Module, example: Tensor) -> None:
    """Runs the model forward and backward once."""
    with torch.inference_mode(False), torch.enable_grad():
        x = example.detach().clone().requires_grad_()
        torch.autograd.grad(scores(model(x.clone()), len(x)).sum(), x)
