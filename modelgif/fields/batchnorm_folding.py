"""Batch normalisation folded into the convolution before it, where this is proved to be safe."""

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, Tracer
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modelgif.fields.model import scores

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TOLERANCE = 1e-5


def fold_batchnorm(model: nn.Module, example: Tensor) -> tuple[nn.Module, str]:
    """Returns a copy of `model` for evaluation with less to compute, and what was done.

    In evaluation mode batch normalisation is linear, so that it can go into the weights of the
    convolution whose output it takes. This is done where the traced graph shows that nothing else
    takes that output and that neither layer is used twice; a part that cannot be traced is left,
    and its children are tried. The copy is kept only if its outputs and input gradients, both in
    float64, equal the model's to 1e-5 of the largest; otherwise the model itself is returned, with
    the reason.

    Args:
        model: left as it is.
        example: inputs ``[B, *input_shape]`` to try the copy on, on the model's device.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    shared = _shared_modules(folded)
    folded, count = _fold(folded, shared)
    if not count:
        return model, "no BatchNorm folded: none that provably takes all a convolution gives"
    try:
        with torch.inference_mode(False):
            error = _difference(model, folded, example.detach().clone())
    except Exception as reason:
        return model, f"no BatchNorm folded: the folded copy cannot be tried ({reason})"
    # Not "error > …": a NaN is no proof.
    if not error <= _TOLERANCE:
        return model, f"no BatchNorm folded: the folded copy differs by {error:.1e}"
    return folded, f"{count} BatchNorm folded into convolutions"


def _fold(module: nn.Module, shared: set[int]) -> tuple[nn.Module, int]:
    """The module with its pairs folded, and their number; its parts are changed in place."""
    try:
        traced = GraphModule(module, Tracer().trace(module))
    except Exception:
        # What depends on the input's shape or values has no one graph, but its parts may have one.
        count = 0
        for name, child in list(module.named_children()):
            if id(child) not in shared:
                replaced, n_folded = _fold(child, shared)
                setattr(module, name, replaced)
                count += n_folded
        return module, count
    pairs = _pairs(traced, shared)
    for convolution, normalisation in pairs:
        layer = traced.get_submodule(str(convolution.target))
        parts = (layer, traced.get_submodule(str(normalisation.target)))
        dtype = next(layer.parameters()).dtype
        # In float64, so that the new weights are rounded once.
        fused = _fused(*(copy.deepcopy(part).double() for part in parts)).to(dtype)
        traced.set_submodule(str(convolution.target), fused.requires_grad_(False))
        normalisation.replace_all_uses_with(convolution)
        traced.graph.erase_node(normalisation)
    if not pairs:
        return module, 0
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced, len(pairs)


def _fused(convolution: Any, normalisation: Any) -> nn.Module:
    return fuse_conv_bn_eval(convolution, normalisation)


def _pairs(traced: GraphModule, shared: set[int]) -> list[tuple[Node, Node]]:
    """Convolutions and the normalisations that alone take their output."""
    layers = {
        node: traced.get_submodule(str(node.target))
        for node in traced.graph.nodes
        if node.op == "call_module"
    }
    calls = Counter(id(layer) for layer in layers.values())
    # A weight read by itself, as `self.conv.weight`, is not the convolution's alone.
    read = {str(n.target).rpartition(".")[0] for n in traced.graph.nodes if n.op == "get_attr"}
    pairs = []
    for node, layer in layers.items():
        before = node.args[0] if node.args else None
        if (
            isinstance(before, Node)
            and before in layers
            and type(layer) in _NORMALISATIONS
            and type(layers[before]) in _CONVOLUTIONS
            and getattr(layer, "running_mean", None) is not None
            and len(before.users) == 1
            and all(calls[id(layers[n])] == 1 for n in (node, before))
            and not {id(layers[n]) for n in (node, before)} & shared
            and not {str(node.target), str(before.target)} & read
        ):
            pairs.append((before, node))
    return pairs


def _shared_modules(model: nn.Module) -> set[int]:
    """Modules that stand in more than one place of the model."""
    places = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    return {module for module, count in places.items() if count > 1}


def _difference(model: nn.Module, folded: nn.Module, x: Tensor) -> float:
    """The largest difference of outputs or input gradients, relative to the largest of each."""
    ours, theirs = (_outputs(copy.deepcopy(m).eval().double(), x.double()) for m in (folded, model))
    errors = [
        (a - b).abs().max() / b.abs().max().clamp_min(torch.finfo(b.dtype).tiny)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return torch.stack(errors).max().item()


def _outputs(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.requires_grad_()
        output = scores(model(x.clone()), len(x))
        # Not a plain sum: errors of two outputs could cancel in it.
        weights = torch.linspace(1, 2, output.numel(), dtype=x.dtype, device=x.device)
        (gradient,) = torch.autograd.grad((output.flatten() * weights).sum(), x)
    return output.detach(), gradient
