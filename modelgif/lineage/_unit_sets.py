"""Sets of hidden units: which axes of which tensors change their order together.

Permuting the units of a hidden layer, with everything that is connected to them, leaves a network's
function as it is. The sets are read from a traced run of the network, and a set counts only if a
random permutation of it leaves the output as it is, up to rounding, in double precision. So a
mistake in tracing can make a set be left out, but not a false one be used.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from modelgif.lineage.axes import Atom, Axis, atoms, positions, reordered, resolve
from modelgif.lineage.example_input import example_inputs
from modelgif.lineage.model_tensors import STATISTICS, plain_name
from modelgif.lineage.tracing import Trace, plain_attention, same_draws, trace

# Fewer units have too few orders to say anything: 1/3! is no small p-value.
MIN_UNITS = 4
# Of how the output differs between two inputs. Rounding in double precision stays far below, and a
# wrong set goes far beyond.
_TOLERANCE = 1e-4
_INSENSITIVE = 1e-8
_NOISE = 65_537
_GAIN = 1.5
_FAILURES = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, AttributeError)


@dataclass(frozen=True)
class LeftOut:
    """Units that say nothing, and why.

    Attributes:
        name: the first tensor that they are in.
        reason: why they are left out.
    """

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class UnitSet:
    """Hidden units of which any order gives the same function.

    Attributes:
        name: the tensor whose first axis they are, or else the first tensor that they are in.
        size: how many.
        places: tensors and their axes on which they occur.
        atom: what stands for them in the trees of `UnitSets.axes`.
    """

    name: str
    size: int
    places: tuple[tuple[str, int], ...]
    atom: Atom


@dataclass(frozen=True, eq=False)
class UnitSets:
    """The sets of hidden units of a network.

    Attributes:
        sets: those that count.
        axes: what the positions along each axis of each tensor stand for, by tensor.
        left_out: units that do not count, each with the reason.
        note: how they were found, and whether they were checked.
        activations: outputs of layers at the example, ``[n_units, n_values]``, when asked for.
    """

    sets: tuple[UnitSet, ...]
    axes: Mapping[str, tuple[Axis, ...]]
    left_out: tuple[LeftOut, ...]
    note: str
    activations: tuple[tuple[Axis, Tensor], ...] = ()


class TracingError(ValueError):
    """A network cannot be run on any input that was tried."""


def unit_sets(
    network: nn.Module, *, example: Tensor | None = None, activations: bool = False, seed: int = 0
) -> UnitSets:
    """Returns the sets of hidden units of a network, each checked numerically.

    The network is run twice in double precision, on two samples: once to follow its axes, and once
    with all sets permuted. Weights are perturbed and scaled for that, so that branches which are
    zero at the start of training are checked as well. The network itself stays as it is.

    Args:
        network: a module; what it does in evaluation mode counts.
        example: a batch of inputs; without it, random inputs of usual sizes are tried.
        activations: also keep the outputs of layers at `example`, for the weights as they are.
        seed: of the perturbation and the permutations.

    Raises:
        TracingError: if the network runs on none of the inputs.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> [(s.name, s.size, s.places) for s in unit_sets(network).sets]
        [('0.weight', 8, (('0.weight', 0), ('0.bias', 0), ('2.weight', 1)))]
    """
    with _evaluation(network):
        generic = _double(network, perturbed=not activations, seed=seed)
        run, x = None, torch.empty(0)
        tried: list[str] = []
        for given in example_inputs(network) if example is None else iter([example]):
            x = given.detach().cpu()
            x = x if activations or example is None else x[:2]
            x = x.double() if x.is_floating_point() else x
            try:
                run = trace(network, generic, x, activations=activations)
            except _FAILURES as error:
                tried.append(f"{list(x.shape)}: {str(error).splitlines()[:1]}")
                continue
            break
        if run is None:
            raise TracingError(
                "the network runs on none of the inputs tried; give `example`, a batch that it "
                f"takes. Tried {'; '.join(tried) or 'none, since it has no layers'}."
            )
        found, left_out = _sets(run, network)
        good, failed, note = _checked(network, generic, x, run, found, seed)
    reason = "permuting it changes the network's output, so its axes were not followed rightly"
    size = "×".join(map(str, x.shape[1:]))
    return UnitSets(
        sets=tuple(good),
        axes={plain_name(name): tuple(axes) for name, axes in run.axes.items()},
        left_out=(*left_out, *(LeftOut(s.name, reason) for s in failed)),
        note=f"sets of units traced on an input of {size}, {note}",
        activations=tuple(run.activations),
    )


def unit_sets_by_order(tensors: Mapping[str, Tensor]) -> UnitSets:
    """Returns the sets that the shapes of a state dict's weights let one be sure of.

    Rows of a weight are a set of their own if the next weight takes as many inputs, and the weight
    itself takes another number and as many as some layer before it gives. All else is left out: a
    square weight may have its own units on both axes, and rows that are not the next one's inputs
    may be queries, keys and values, which are not alike.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 2))
        >>> found = unit_sets_by_order(network.state_dict())
        >>> [s.name for s in found.sets]
        ['0.weight']
        >>> found.left_out[0]
        LeftOut(name='2.weight', reason='a square weight may have the same units on both axes')
    """
    weights = [(name, t) for name, t in tensors.items() if t.ndim >= 2 and name.endswith("weight")]
    sets: list[UnitSet] = []
    left_out: list[LeftOut] = []
    axes: dict[str, tuple[Axis, ...]] = {}
    given: set[int] = set()
    for index, (name, weight) in enumerate(weights):
        n_out, n_in = weight.shape[:2]
        following = next((w for _, w in weights[index + 1 :] if w.shape[1] != 1), None)
        # A linear layer takes all positions of a convolution's channels.
        flattened = n_out
        if following is not None and following.ndim == 2 < weight.ndim:
            flattened = following.shape[1] if following.shape[1] % n_out == 0 else n_out
        reason = ""
        if index == len(weights) - 1 or following is None:
            reason = "the last weight's rows are the outputs"
        elif index and n_in == 1:
            reason = "a depthwise weight shares its units with the layer before"
        elif n_out == n_in:
            reason = "a square weight may have the same units on both axes"
        elif following.shape[1] not in (n_out, flattened):
            reason = "the next weight takes another number of inputs"
        elif index and not any(n_in == n or (n_in % n == 0 and weight.ndim == 2) for n in given):
            reason = "no layer before gives as many outputs as the weight takes: it is grouped"
        elif n_out < MIN_UNITS:
            reason = f"only {n_out} units"
        given.add(n_out)
        if reason:
            left_out.append(LeftOut(name, reason))
            continue
        atom = Atom(n_out)
        places = [(name, 0)]
        axes[name] = (atom, *(Atom(n, "not known") for n in weight.shape[1:]))
        bias = name.removesuffix("weight") + "bias"
        if bias in tensors and tensors[bias].shape == (n_out,):
            places.append((bias, 0))
            axes[bias] = (atom,)
        sets.append(UnitSet(name, n_out, tuple(places), atom))
    note = "sets of units by the order and shapes of the weights, not checked numerically"
    return UnitSets(tuple(sets), axes, tuple(left_out), note)


def permute(
    tensors: Mapping[str, Tensor], axes: Mapping[str, Sequence[Axis]], orders: Mapping[Atom, object]
) -> dict[str, Tensor]:
    """Returns tensors with the units of some sets in another order.

    Args:
        tensors: by name.
        axes: what their axes stand for, by name; tensors without stay as they are.
        orders: per atom, the old index of each new unit.
    """
    wanted = {atom: np.asarray(order) for atom, order in orders.items()}
    found = dict(tensors)
    for name, tensor in tensors.items():
        for dim, axis in enumerate(axes.get(name, ())):
            if any(atom in wanted for atom in atoms(axis)):
                index = torch.from_numpy(np.ascontiguousarray(reordered(axis, wanted)))
                found[name] = found[name].index_select(dim, index.to(tensor.device))
    return found


def _double(network: nn.Module, *, perturbed: bool, seed: int) -> dict[str, Tensor]:
    """The network's tensors in double precision, as they are or perturbed."""
    # One short piece of noise for all: a prime length keeps its copies apart along every axis.
    noise = torch.randn(_NOISE, generator=torch.Generator().manual_seed(seed))
    copies: dict[int, Tensor] = {}
    generic: dict[str, Tensor] = {}
    parameters = dict(network.named_parameters(remove_duplicate=False))
    buffers = dict(network.named_buffers(remove_duplicate=False))
    for name, tensor in {**parameters, **buffers}.items():
        if id(tensor) in copies:
            generic[name] = copies[id(tensor)]
            continue
        value = tensor.detach().cpu()
        if value.is_floating_point():
            value = value.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
        if perturbed and value.is_floating_point() and value.numel():
            start = 31 * len(copies) % _NOISE
            moved = noise.roll(start).repeat(-(-value.numel() // _NOISE))[: value.numel()]
            moved = moved.view(value.shape)
            if name in parameters:
                size = float(value.square().mean().sqrt())
                # What scales a branch may be zero or next to it.
                size = 0.3 if value.ndim < 2 and size < 0.1 else 0.1 * size or 0.1
                value.add_(moved, alpha=size)
                if value.ndim > 1:
                    # A layer that weakens its signal would hide what is before it.
                    rows = value.flatten(1)
                    rows.mul_(_GAIN / rows.norm(dim=1, keepdim=True).clamp_min(1e-12))
            elif name.endswith("running_var"):
                value.clamp_min_(1e-3).mul_((0.3 * moved).exp())
            elif name.endswith("running_mean"):
                value.add_(moved, alpha=0.1)
        copies[id(tensor)] = generic[name] = value
    return generic


def _sets(run: Trace, network: nn.Module) -> tuple[list[UnitSet], list[LeftOut]]:
    places: dict[Atom, list[tuple[str, int]]] = {}
    weights = dict(network.named_parameters(remove_duplicate=False))
    tensors = weights | dict(network.named_buffers(remove_duplicate=False))
    for name, axes in run.axes.items():
        for dim, axis in enumerate(axes):
            for atom in dict.fromkeys(atoms(axis)):
                places.setdefault(atom, []).append((name, dim))
    sets: list[UnitSet] = []
    left_out: list[LeftOut] = []
    usual = ("the input's own axes", "positions in space, samples or tokens", "the model's output")
    for atom, where in places.items():
        first = next((n for n, d in where if d == 0 and tensors[n].ndim > 1), where[0][0])
        name = plain_name(first)
        telling = _telling_buffer(atom, where, run, weights, tensors)
        if atom.pinned:
            # Pixels, classes and positions are no hidden units that one could miss.
            if atom.pinned not in usual and atom.size >= MIN_UNITS:
                left_out.append(LeftOut(name, f"{atom.size} units: {atom.pinned}"))
        elif atom.size < MIN_UNITS:
            if atom.size > 1:
                left_out.append(LeftOut(name, f"only {atom.size} units"))
        elif telling:
            left_out.append(LeftOut(name, f"the fixed tensor {telling} tells its units apart"))
        else:
            plain = tuple((plain_name(n), d) for n, d in where if not n.endswith("_mask"))
            sets.append(UnitSet(name, atom.size, plain, atom))
    return sets, left_out


def _telling_buffer(
    atom: Atom,
    where: Sequence[tuple[str, int]],
    run: Trace,
    weights: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
) -> str:
    """A buffer, other than statistics, that differs between units: a design, not chance."""
    for name, dim in where:
        if name in weights or name.endswith((*STATISTICS, "_mask")):
            continue
        index = positions(run.axes[name][dim], atom)
        if index is None:
            return name
        rows = tensors[name].movedim(dim, 0)[torch.from_numpy(index)]
        if not bool((rows == rows[:1]).all()):
            return name
    return ""


def _checked(
    network: nn.Module,
    named: Mapping[str, Tensor],
    example: Tensor,
    run: Trace,
    sets: Sequence[UnitSet],
    seed: int,
) -> tuple[list[UnitSet], list[UnitSet], str]:
    """Sets that leave the output as it is, those that do not, and a note."""
    rng = np.random.default_rng(seed)
    orders = {s.atom: rng.permutation(s.size) for s in sets}
    before = [t.double() for t in run.outputs]
    if not sets:
        return [], [], "of which there are none"
    if not before or not all(bool(torch.isfinite(t).all()) for t in before):
        return [], list(sets), "but its outputs are not finite, so that nothing could be checked"
    size = max(float(t.abs().max()) for t in before if t.numel())
    # An untrained network hardly listens to its input; what does not vary cannot be checked.
    spread = max(float((t - t[:1]).abs().max()) for t in before if t.numel())
    if spread <= _INSENSITIVE * size:
        return [], list(sets), "but its output is the same for two inputs: nothing can be checked"

    def unchanged(group: Sequence[UnitSet]) -> bool:
        moved = permute(named, run.axes, {s.atom: orders[s.atom] for s in group})
        with plain_attention(), same_draws(), torch.no_grad():
            output = functional_call(network, moved, (example,))
        after = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        return all(
            float((x - y).abs().max()) <= _TOLERANCE * spread
            for x, y in zip(before, after, strict=True)
            if x.numel()
        )

    def sift(group: Sequence[UnitSet]) -> Iterator[UnitSet]:
        """Halves a group until what is left of it fails alone."""
        if unchanged(group):
            return
        if len(group) == 1:
            yield group[0]
            return
        half = len(group) // 2
        yield from itertools.chain(sift(group[:half]), sift(group[half:]))

    failed = list(sift(list(sets)))
    good = [s for s in sets if s not in failed]
    return good, failed, "each checked numerically"


@contextlib.contextmanager
def _evaluation(network: nn.Module) -> Iterator[None]:
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def whole_axis(axis: Axis) -> Atom | None:
    """Returns the atom that an axis is, if it is one and no layout of several."""
    axis = resolve(axis)
    return axis if isinstance(axis, Atom) else None
