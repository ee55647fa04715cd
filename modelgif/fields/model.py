"""What a model is here: a module or a function, its scores, and how it is held still."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

Model = nn.Module | Callable[[Tensor], object]


def scores(output: object, batch: int) -> Tensor:
    """Returns the one tensor of scores ``[B, ...]`` in a model's output.

    Raises:
        TypeError: when there is none, or more than one and none is called ``logits``.
        ValueError: when it does not have one row per sample.
    """
    tensor = _only_tensor(output)
    if tensor.shape[:1] != (batch,) or tensor.ndim < 2:
        raise ValueError(
            f"the model must give one row of scores per sample, [{batch}, ...], "
            f"got {list(tensor.shape)}."
        )
    return tensor


def _only_tensor(output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        named = dict(output)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        named = {f.name: getattr(output, f.name) for f in dataclasses.fields(output)}
    elif isinstance(output, tuple | list):
        named = dict(enumerate(output))
    else:
        raise TypeError(f"the model must return a tensor of scores, got {type(output).__name__}.")
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    if "logits" in tensors:
        return tensors["logits"]
    raise TypeError(
        f"the model returned a {type(output).__name__} with {len(tensors)} tensors "
        f"({', '.join(map(str, tensors)) or 'none'}) and none of them named 'logits'; "
        "wrap it in a module that returns the scores."
    )


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Puts `model` in evaluation mode, its weights without gradients, and both back afterwards."""
    if not isinstance(model, nn.Module):
        yield
        return
    training = [module for module in model.modules() if module.training]
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for module in training:
            module.training = True
