"""Number formats: which a model can be described in, and which pass no gradient."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

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
    """Refuses a model with quantised layers, whose gradients torch would give as zero, or drop.

    Newer quantisation keeps the class of a layer, such as `nn.Linear`, and puts a weight into it
    whose class does the arithmetic: such a weight says that it requires gradients, and may pass
    none on. Whoever knows its class, and not this program, knows what it does.

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
        for key, tensor in (module._parameters | module._buffers | vars(module)).items():
            if isinstance(tensor, Tensor) and _computes_by_itself(type(tensor)):
                kind = f"{type(tensor).__module__}.{type(tensor).__name__}"
                raise TypeError(
                    f"{name} has a weight of a class with arithmetic of its own "
                    f"({path + '.' if path else ''}{key} is a {kind}), such as quantisation that "
                    f"keeps a layer's class, which may pass no gradient. {_WAY_OUT}"
                )


def _computes_by_itself(kind: type[Tensor]) -> bool:
    """Whether a class of tensors changes what operators do."""
    if issubclass(kind, UninitializedParameter | UninitializedBuffer):
        return False
    own = [_function(kind, name) for name in ("__torch_function__", "__torch_dispatch__")]
    usual = [
        {_function(other, name) for other in (Tensor, nn.Parameter, nn.Buffer)}
        for name in ("__torch_function__", "__torch_dispatch__")
    ]
    return any(function not in known for function, known in zip(own, usual, strict=True))


def _function(kind: type[Tensor], name: str) -> object:
    function = getattr(kind, name)
    return getattr(function, "__func__", function)


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
