"""The tensor of scores in whatever a model returns."""

import dataclasses
from collections.abc import Mapping

from torch import Tensor


def scores(output: object, batch: int) -> Tensor:
    """Returns the one tensor of scores ``[B, ...]`` in a model's output.

    Raises:
        TypeError: when there is none, or more than one and none is called ``logits``.
        ValueError: when it has not one row per sample.
    """
    found = _only_tensor(output)
    if found.shape[:1] != (batch,) or found.ndim < 2:
        raise ValueError(
            f"the model must give one row of scores per sample, [{batch}, ...], "
            f"got {list(found.shape)}."
        )
    return found


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
