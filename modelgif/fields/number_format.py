"""Number formats: which a model can be described in, and which pass no gradient."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_NO_KERNEL = ".*an autograd kernel was not registered"
_WAY_OUT = (
    "Describe the model it was quantised from, or a copy of that one with its weights rounded and "
    "turned back to floating point."
)


def compute_dtype(model: nn.Module) -> torch.dtype | None:
    """Returns the precision to compute in for weights too coarse for it, or None to leave them.

    A field is a sum of many gradients, and neither bfloat16 nor float16 holds its terms to more
    than three digits; float32 holds their weights exactly.
    """
    formats = {t.dtype for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()}
    coarse = any(dtype.itemsize < torch.float32.itemsize for dtype in formats)
    if not coarse:
        return None
    return torch.float64 if torch.float64 in formats else torch.float32


def refuse_quantised(model: object, name: str) -> None:
    """Refuses a model with quantised layers, whose gradients torch would give as zero.

    Raises:
        TypeError: naming the first such layer.
    """
    for path, module in model.named_modules() if isinstance(model, nn.Module) else ():
        origin = type(module).__module__
        quantised = ".quantized" in origin and ".reference" not in origin
        if quantised or any(t.is_quantized for t in module.buffers(recurse=False)):
            raise TypeError(
                f"{name} is quantised ({path or 'it'} is a {origin}.{type(module).__name__}), and "
                f"integer arithmetic passes no gradient. {_WAY_OUT}"
            )


@contextmanager
def gradients_or_error(name: str) -> Iterator[None]:
    """Turns torch's warning about an operator without a gradient into an error.

    Such an operator gives zeros, or nothing, where the gradient should be.

    Raises:
        TypeError: naming the operator.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=_NO_KERNEL, category=UserWarning)
        try:
            yield
        except UserWarning as warning:
            if "an autograd kernel was not registered" not in str(warning):
                raise
            operator = str(warning).partition(": ")[0]
            raise TypeError(
                f"{name} passes no gradient through the operator {operator}. {_WAY_OUT}"
            ) from warning
