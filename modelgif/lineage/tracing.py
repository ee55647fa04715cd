"""Follows a network's axes through one run of it, operation by operation.

The run itself is traced, below autograd, where convolutions, products, reshapes and the like are
all that is left of layers: `torch.fx` and `torch.export` see the same operations, but neither
follows every network's Python. What an operation does to axes is one small rule. An operation
without a rule pins all axes that enter it, with its name as the reason: units are then left out,
never wrongly put together.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from modelgif.lineage.axes import Atom, Axis, Join, Product, cut, pin, same, split

Axes = list[Axis]

# Columns that are kept of an activation, which bounds the memory and the time of matching.
_KEPT_COLUMNS = 4096
_INDEXED = "a single index of it is taken"
_FIXED = "positions in space, samples or tokens"
_REDUCTIONS = {
    **dict.fromkeys(("mean", "sum", "amax", "amin", "var", "std", "var_mean", "prod"), 1),
    **dict.fromkeys(("logsumexp", "any", "all", "linalg_vector_norm", "norm"), 1),
}
_POINTWISE = {
    *("clone", "detach", "alias", "_to_copy", "lift_fresh", "lift", "contiguous", "dropout"),
    *("copy", "relu", "hardtanh", "hardswish", "hardsigmoid", "gelu", "silu", "leaky_relu"),
    *("_softmax", "_safe_softmax", "_log_softmax", "_conj", "bernoulli", "native_dropout"),
    *("rrelu_with_noise", "elu", "_prelu_kernel", "glu_jvp", "log_sigmoid_forward"),
}
_CONSTANTS = {
    *("zeros", "ones", "full", "empty", "zeros_like", "ones_like", "full_like", "empty_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "scalar_tensor", "empty_strided"),
}
_NORMS = {
    *("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training"),
    *("cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_with_update", "batch_norm"),
    *("_batch_norm_no_update",),
}


@dataclasses.dataclass
class Trace:
    """What one run shows.

    Attributes:
        axes: the axes of each parameter and buffer that the run used, by name.
        activations: outputs of convolutions and linear layers, ``[n_units, n_values]``, each with
            the axis of its units; empty unless they were asked for.
        outputs: the tensors that the model returned.
        output_axes: their axes.
    """

    axes: dict[str, Axes]
    activations: list[tuple[Axis, Tensor]]
    outputs: list[Tensor]
    output_axes: list[Axes]


def trace(
    model: nn.Module,
    named: Mapping[str, Tensor],
    example: Tensor,
    *,
    activations: bool = False,
) -> Trace:
    """Returns the axes of a model's tensors, from one run on `example`.

    Args:
        model: in evaluation mode.
        named: the values that its parameters and buffers are to have, by name.
        example: a batch of inputs; what is along its axes is pinned.
        activations: also keep the outputs of layers.
    """
    follower = _Follower(activations)
    for tensor in named.values():
        if id(tensor) not in follower.axes:
            follower.know(tensor, [Atom(n) for n in tensor.shape])
    follower.know(example, [Atom(n, "the input's own axes") for n in example.shape])
    with plain_attention(), same_draws(), torch.no_grad(), follower:
        output = functional_call(model, dict(named), (example,))
    outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    output_axes = [follower.of(tensor) for tensor in outputs]
    for axis in (axis for axes in output_axes for axis in axes):
        pin(axis, "the model's output")
    return Trace(
        axes={name: follower.of(t) for name, t in named.items() if id(t) in follower.used},
        activations=follower.activations,
        outputs=outputs,
        output_axes=output_axes,
    )


@contextmanager
def same_draws() -> Iterator[None]:
    """Gives a network the same random numbers in every run, such as dropout left on draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Within it attention is computed by plain products, which have rules here."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Follower(TorchDispatchMode):
    def __init__(self, keep_activations: bool) -> None:
        super().__init__()
        self.axes: dict[int, Axes] = {}
        self.used: set[int] = set()
        self.activations: list[tuple[Axis, Tensor]] = []
        self._keep_activations = keep_activations
        # An id is only that of one tensor for as long as the tensor is there.
        self._alive: list[Tensor] = []

    def know(self, tensor: Tensor, axes: Axes) -> None:
        self.axes[id(tensor)] = axes
        self._alive.append(tensor)

    def of(self, tensor: Tensor) -> Axes:
        if id(tensor) not in self.axes:
            self.know(tensor, [Atom(n, "a constant of the network's code") for n in tensor.shape])
        return self.axes[id(tensor)]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        kwargs = dict(kwargs or {})
        result = func(*args, **kwargs)
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.used.update(map(id, inputs))
        packet = func.overloadpacket.__name__
        name = packet if packet.startswith("__") else packet.removesuffix("_")
        call = _Call(name, args, kwargs, outputs, self)
        found = self._axes_of(call, inputs, torch.Tag.pointwise in func.tags)
        for tensor, axes in zip(outputs, found, strict=False):
            self.know(tensor, axes)
        if self._keep_activations and name in ("convolution", "addmm", "mm", "linear"):
            self._keep(outputs[0])
        return result

    def _axes_of(self, call: "_Call", inputs: Sequence[Tensor], pointwise: bool) -> list[Axes]:
        rule = _RULES.get(call.name)
        if call.name in _CONSTANTS:
            return [[Atom(n) for n in tensor.shape] for tensor in call.outputs]
        if rule is not None:
            found = rule(call)
            if found is not None:
                return found
        elif pointwise or call.name in _POINTWISE:
            return [_broadcast(call, inputs, output) for output in call.outputs]
        elif call.name.startswith("_scaled_dot_product"):
            return _attention(call)
        why = f"the operation {call.name} has no rule here"
        for tensor in inputs:
            for axis in self.of(tensor):
                pin(axis, why)
        return [[Atom(n, why) for n in tensor.shape] for tensor in call.outputs]

    def _keep(self, output: Tensor) -> None:
        channel = 1 if output.ndim > 2 else output.ndim - 1
        values = output.detach().movedim(channel, 0).flatten(1)
        step = -(-values.shape[1] // _KEPT_COLUMNS)
        self.activations.append((self.of(output)[channel], values[:, ::step].float().clone()))


@dataclasses.dataclass
class _Call:
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Tensor]
    follower: _Follower

    def arg(self, index: int, name: str = "", default: object = None) -> Any:
        if index < len(self.args):
            return self.args[index]
        return self.kwargs.get(name, default)

    def axes(self, index: int) -> Axes:
        return self.follower.of(self.args[index])

    def others(self, *used: int) -> list[Tensor]:
        return [
            leaf
            for leaf in tree_leaves([a for i, a in enumerate(self.args) if i not in used])
            if isinstance(leaf, Tensor)
        ]


def _same_all(a: Sequence[Axis], b: Sequence[Axis]) -> None:
    for x, y in zip(a, b, strict=False):
        same(x, y)


def _pin_all(axes: Sequence[Axis], why: str) -> None:
    for axis in axes:
        pin(axis, why)


def _broadcast(call: _Call, inputs: Sequence[Tensor], output: Tensor) -> Axes:
    axes = [call.follower.of(tensor) for tensor in inputs]
    found: Axes = []
    for back in range(output.ndim, 0, -1):
        size = output.shape[-back]
        here = [a[-back] for a in axes if len(a) >= back and a[-back].size == size]
        for other in here[1:]:
            same(here[0], other)
        found.append(here[0] if here else Atom(size, "a broadcast axis"))
    return found


def _convolution(call: _Call) -> list[Axes] | None:
    x, weight = call.axes(0), call.axes(1)
    transposed, groups = bool(call.arg(6, "transposed", False)), int(call.arg(8, "groups", 1))
    spatial = call.outputs[0].ndim - 2
    channels = x[-1 - spatial]
    _pin_all([*weight[2:], *x[-spatial:]], _FIXED)
    incoming, outgoing = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    if groups > 1 and transposed:
        return None
    if groups == 1:
        same(channels, incoming)
    else:
        # Whole groups may change places, and channels within a group alike in all groups.
        group, within = split([channels], [groups, channels.size // groups])
        same(within, incoming)
        group_out, _ = split([outgoing], [groups, outgoing.size // groups])
        same(group, group_out)
    if call.arg(2) is not None:
        same(call.axes(2)[0], outgoing)
    where: Axes = [Atom(n, _FIXED) for n in call.outputs[0].shape[2:]]
    return [[x[0], outgoing, *where]]


def _norm(call: _Call) -> list[Axes]:
    x = call.axes(0)
    for tensor in call.others(0):
        if tensor.ndim == 1:
            same(call.follower.of(tensor)[0], x[1])
    return [x, *([Atom(n, "statistics") for n in t.shape] for t in call.outputs[1:])]


def _layer_norm(call: _Call) -> list[Axes]:
    x = call.axes(0)
    for tensor in call.others(0):
        axes = call.follower.of(tensor)
        _same_all(x[-len(axes) :], axes)
    return [x, *([Atom(n, "statistics") for n in t.shape] for t in call.outputs[1:])]


def _group_norm(call: _Call) -> list[Axes]:
    x, groups = call.axes(0), int(call.args[6])
    if groups > 1:
        split([x[1]], [groups, x[1].size // groups])
    for tensor in call.others(0):
        same(call.follower.of(tensor)[0], x[1])
    return [x, *([Atom(n, "statistics") for n in t.shape] for t in call.outputs[1:])]


def _products(*, batch: int, added: int = 0) -> Callable[[_Call], list[Axes]]:
    def rule(call: _Call) -> list[Axes]:
        a, b = call.axes(added), call.axes(added + 1)
        _same_all(a[:batch], b[:batch])
        same(a[-1], b[-2])
        found = [*a[:-1], b[-1]]
        if added:
            bias = call.axes(0)
            for x, y in zip(bias[::-1], found[::-1], strict=False):
                if x.size > 1:
                    same(x, y)
        return [found]

    return rule


def _linear(call: _Call) -> list[Axes]:
    x, weight = call.axes(0), call.axes(1)
    same(x[-1], weight[1])
    if call.arg(2) is not None:
        same(call.axes(2)[0], weight[0])
    return [[*x[:-1], weight[0]]]


def _attention(call: _Call) -> list[Axes]:
    q, k, v = (call.axes(i) for i in range(3))
    _same_all(q[:-2], k[:-2])
    _same_all(k[:-1], v[:-1])
    same(q[-1], k[-1])
    _pin_all([q[-2], k[-2]], _FIXED)
    rest: list[Axes] = [
        [Atom(n, "inner results of attention") for n in t.shape] for t in call.outputs[1:]
    ]
    for tensor in call.others(0, 1, 2):
        _pin_all(call.follower.of(tensor), "a mask of attention")
    return [[*q[:-1], v[-1]], *rest]


def _reshape(call: _Call) -> list[Axes]:
    old, new = call.axes(0), list(call.outputs[0].shape)
    if 0 in new:
        return [[Atom(n, "nothing") for n in new]]
    found: Axes = []
    start = 0
    group: list[int] = []
    i = 0
    # Neighbouring axes of equal product are reshaped among themselves.
    while i < len(new) or start < len(old):
        group, have, taken, want = [], 1, 0, 1
        while not group or have != want:
            if want <= have and i < len(new):
                want *= new[i]
                group.append(new[i])
                i += 1
            elif start + taken < len(old):
                have *= old[start + taken].size
                taken += 1
            else:
                break
        if not group:
            # Only axes of one position are left over.
            break
        found += split(old[start : start + taken], group)
        start += taken
    return [found]


def _reduction(call: _Call) -> list[Axes]:
    x = call.axes(0)
    dims = call.arg(2 if call.name in ("norm", "linalg_vector_norm") else 1, "dim")
    if dims is None or dims == []:
        dims = range(len(x))
    gone = {d % len(x) for d in ([dims] if isinstance(dims, int) else dims)} if x else set()
    found: list[Axes] = []
    for output in call.outputs:
        if output.ndim == len(x):
            found.append([Atom(1, _FIXED) if i in gone else a for i, a in enumerate(x)])
        else:
            found.append([a for i, a in enumerate(x) if i not in gone])
    return found


def _pool(spatial: int) -> Callable[[_Call], list[Axes]]:
    def rule(call: _Call) -> list[Axes]:
        x = call.axes(0)
        _pin_all(x[-spatial:], _FIXED)
        return [
            [*x[:-spatial], *(Atom(n, _FIXED) for n in output.shape[-spatial:])]
            for output in call.outputs
        ]

    return rule


def _permute(call: _Call) -> list[Axes]:
    x = call.axes(0)
    if call.name == "t":
        return [x[::-1]]
    if call.name == "permute":
        return [[x[d] for d in call.args[1]]]
    one, other = call.args[1] % len(x), call.args[2] % len(x)
    found = list(x)
    found[one], found[other] = found[other], found[one]
    return [found]


def _unsqueeze(call: _Call) -> list[Axes]:
    found = list(call.axes(0))
    found.insert(call.args[1] % (len(found) + 1), Atom(1, _FIXED))
    return [found]


def _expand(call: _Call) -> list[Axes]:
    x, shape = call.axes(0), call.outputs[0].shape
    new = len(shape) - len(x)
    # Alike at all positions, an expanded axis may be put in any order.
    return [
        [x[i - new] if i >= new and x[i - new].size == n else Atom(n) for i, n in enumerate(shape)]
    ]


def _along(call: _Call, at: int) -> int:
    return int(call.arg(at, "dim", 0)) % len(call.axes(0))


def _slice(call: _Call) -> list[Axes]:
    x, dim = call.axes(0), _along(call, 1)
    size, start = x[dim].size, call.arg(2, "start")
    start = 0 if start is None else start + size if start < 0 else min(start, size)
    length = call.outputs[0].shape[dim]
    if length == size:
        return [x]
    piece = None
    if call.arg(4, "step", 1) == 1:
        first = cut(x[dim], start)
        second = None if first is None else cut(first[1], length)
        piece = None if second is None else second[0]
    if piece is None:
        pin(x[dim], "it is sliced across its parts")
        piece = Atom(length, "a slice")
    return [[*x[:dim], piece, *x[dim + 1 :]]]


def _pieces(call: _Call) -> list[Axes]:
    x, dim = call.axes(0), _along(call, 2)
    rest: Axis = x[dim]
    found: list[Axes] = []
    for output in call.outputs:
        pair = cut(rest, output.shape[dim])
        if pair is None:
            pin(x[dim], "it is sliced across its parts")
            return [[*x[:dim], Atom(o.shape[dim], "a slice"), *x[dim + 1 :]] for o in call.outputs]
        found.append([*x[:dim], pair[0], *x[dim + 1 :]])
        rest = pair[1]
    return found


def _indexed(call: _Call) -> list[Axes]:
    x, dim = call.axes(0), _along(call, 1)
    pin(x[dim], _INDEXED)
    return [[*x[:dim], *x[dim + 1 :]] for _ in call.outputs]


def _cat(call: _Call) -> list[Axes]:
    tensors = [t for t in call.args[0] if t.numel() or t.ndim > 1]
    axes = [call.follower.of(tensor) for tensor in tensors]
    dim = int(call.arg(1, "dim", 0)) % len(axes[0])
    for other in axes[1:]:
        for i, (x, y) in enumerate(zip(axes[0], other, strict=True)):
            if i != dim:
                same(x, y)
    joined = Join([a[dim] for a in axes])
    return [[*axes[0][:dim], joined, *axes[0][dim + 1 :]]]


def _stack(call: _Call) -> list[Axes]:
    axes = [call.follower.of(tensor) for tensor in call.args[0]]
    for other in axes[1:]:
        _same_all(axes[0], other)
    found = list(axes[0])
    found.insert(int(call.arg(1, "dim", 0)) % (len(found) + 1), Atom(len(axes), _INDEXED))
    return [found]


def _pad(call: _Call) -> list[Axes]:
    x, pads = call.axes(0), call.args[1]
    found = list(x)
    for i in range(len(pads) // 2):
        before, after = pads[2 * i], pads[2 * i + 1]
        at = len(x) - 1 - i
        if min(before, after) < 0:
            pin(x[at], "it is cropped")
            found[at] = Atom(call.outputs[0].shape[at], "it is cropped")
        elif before or after:
            # What is padded is alike, and so may be put in any order.
            found[at] = Join([Atom(before), x[at], Atom(after)])
    return [found]


def _repeat(call: _Call) -> list[Axes]:
    x, times = call.axes(0), call.args[1]
    new = len(times) - len(x)
    whole = [*(Atom(1, _FIXED) for _ in range(new)), *x]
    return [
        [
            axis if n == 1 else Product([Atom(n, "copies"), axis])
            for n, axis in zip(times, whole, strict=True)
        ]
    ]


def _moved(call: _Call) -> list[Axes]:
    x = call.axes(0)
    dims = call.arg(2 if call.name == "roll" else 1, "dims", [])
    _pin_all([x[d] for d in (dims or range(len(x)))], "its positions are moved")
    return [x]


def _embedding(call: _Call) -> list[Axes]:
    weight, index = call.axes(0), call.args[1]
    pin(weight[0], _INDEXED)
    return [[*(Atom(n, _FIXED) for n in index.shape), weight[1]]]


def _index(call: _Call) -> list[Axes] | None:
    x, indices = call.axes(0), list(call.args[1])
    given = [i for i, index in enumerate(indices) if index is not None]
    if given != list(range(len(given))) or any(
        indices[i].dtype in (torch.bool, torch.uint8) for i in given
    ):
        return None
    _pin_all([x[i] for i in given], _INDEXED)
    rest = x[len(given) :]
    new = call.outputs[0].ndim - len(rest)
    return [[*(Atom(n, _FIXED) for n in call.outputs[0].shape[:new]), *rest]]


def _index_select(call: _Call) -> list[Axes]:
    x, dim = call.axes(0), _along(call, 1)
    pin(x[dim], _INDEXED)
    return [[*x[:dim], Atom(call.outputs[0].shape[dim], _INDEXED), *x[dim + 1 :]]]


def _as_strided(call: _Call) -> list[Axes] | None:
    x = call.axes(0)
    shape = tuple(call.args[1])
    # Of the same shape, it is how PyTorch rewrites the strides of a result.
    return [x] if shape == tuple(axis.size for axis in x) else None


def _nothing(call: _Call) -> list[Axes]:
    return [[Atom(n, "a question about a tensor") for n in t.shape] for t in call.outputs]


_RULES: dict[str, Callable[[_Call], list[Axes] | None]] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "addmm": _products(batch=0, added=1),
    "mm": _products(batch=0),
    "bmm": _products(batch=1),
    "baddbmm": _products(batch=1, added=1),
    "linear": _linear,
    "native_layer_norm": _layer_norm,
    "_fused_rms_norm": _layer_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(_NORMS, _norm),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(
        ("view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "flatten"), _reshape
    ),
    **dict.fromkeys(("t", "transpose", "permute"), _permute),
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "slice": _slice,
    "split": _pieces,
    "split_with_sizes": _pieces,
    "select": _indexed,
    "unbind": _indexed,
    "cat": _cat,
    "stack": _stack,
    "constant_pad_nd": _pad,
    "repeat": _repeat,
    "roll": _moved,
    "flip": _moved,
    "embedding": _embedding,
    "index": _index,
    "index_select": _index_select,
    "as_strided": _as_strided,
    "_local_scalar_dense": _nothing,
    "fill": lambda call: [call.axes(0)],
    "zero": lambda call: [call.axes(0)],
    **{
        f"{kind}{spatial}d{end}": _pool(spatial)
        for kind in (
            *("max_pool", "avg_pool", "adaptive_avg_pool", "_adaptive_avg_pool"),
            *("adaptive_max_pool", "reflection_pad", "replication_pad", "mkldnn_max_pool"),
            *("upsample_nearest", "upsample_bilinear", "upsample_bicubic", "upsample_linear"),
            *("upsample_trilinear", "_upsample_nearest_exact", "_upsample_bilinear"),
            *("_upsample_bicubic", "lp_pool"),
        )
        for spatial in (1, 2, 3)
        for end in ("", "_with_indices", "_aa")
    },
}
