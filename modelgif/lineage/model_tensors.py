"""The tensors of a model, whatever it is given as, by the names that an ordinary layer has."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

Model = nn.Module | Mapping[str, Any]

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def network_of(model: Model) -> nn.Module | None:
    """Returns the network of a model without a wrapper for preprocessing; None for a state dict.

    Raises:
        TypeError: for what is neither.
    """
    if isinstance(model, Mapping):
        return None
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"a model must be a torch.nn.Module or its state dict, got {type(model).__name__}: "
            "load it first, for instance with modelgif.load_model."
        )
    inner = getattr(model, "network", None)
    if isinstance(inner, nn.Module) and hasattr(model, "preprocessing"):
        return inner
    return model


def tensors_of(model: Model) -> dict[str, Tensor]:
    """Returns a model's tensors in single precision on the CPU, by name, in their order.

    Quantised tensors are put back into numbers, and a pruned tensor is the product of its two.

    Raises:
        TypeError: for what is neither a module nor a state dict.
        ValueError: for a model without tensors, or with one that holds NaN or infinity.
    """
    network = network_of(model)
    state: Mapping[str, Any] = model if isinstance(model, Mapping) else {}
    if network is not None:
        state = network.state_dict()
        # Fixed tensors that no checkpoint holds take part in the computation all the same.
        state = {**state, **{k: v for k, v in network.named_buffers() if k not in state}}
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        for own_name, tensor in _parts(str(name), value):
            mask = state.get(own_name.removesuffix("_orig") + "_mask")
            if own_name.endswith("_orig") and isinstance(mask, Tensor):
                tensor = tensor * mask
            if not own_name.endswith("_mask"):
                found[plain_name(own_name)] = _numbers(own_name, tensor)
    if not found:
        raise ValueError("a model must have tensors, got an empty state dict.")
    return found


def plain_name(name: str) -> str:
    """Returns the name that a tensor had before it was pruned or parametrised."""
    name = name.replace("parametrizations.", "").removesuffix(".original")
    return name.removesuffix("_orig")


def _parts(name: str, value: object) -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, tuple | list):
        # A quantised linear layer keeps its weight and its bias in one entry.
        stem = name.removesuffix("._packed_params._packed_params")
        tensors = [v for v in value if isinstance(v, Tensor)]
        return [(f"{stem}.{n}", t) for n, t in zip(("weight", "bias"), tensors, strict=False)]
    return []


def _numbers(name: str, tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    tensor = tensor.to("cpu", torch.float32)
    # The sum is quick, and says that all are finite unless it overflows.
    if not math.isfinite(float(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
        raise ValueError(
            f"weights must be finite, but {name} holds NaN or infinity: "
            "such a model cannot be compared."
        )
    return tensor
