"""Two models side by side: which tensors and which hidden units take the same place in both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from modelgif.lineage._unit_sets import (
    LeftOut,
    TracingError,
    UnitSets,
    unit_sets,
    unit_sets_by_order,
    whole_axis,
)
from modelgif.lineage.model_tensors import Model, network_of
from modelgif.lineage.unit_features import PairedSet, TensorPair, paired_sets, tensor_pairs


@dataclass(eq=False)
class Pairing:
    """Two models' tensors and sets of units, put side by side.

    Attributes:
        pairs: tensors that take the same place.
        sets: sets of units of both.
        left_out: units that do not count.
        note: how they were found.
        traced_a: the sets of `a` alone, if it was run.
        traced_b: likewise.
    """

    pairs: list[TensorPair]
    sets: list[PairedSet]
    left_out: list[LeftOut]
    note: str
    traced_a: UnitSets | None
    traced_b: UnitSets | None


def pairing(
    a: Model,
    b: Model,
    tensors_a: Mapping[str, Tensor],
    tensors_b: Mapping[str, Tensor],
    names: list[tuple[str, str]],
    *,
    example: Tensor | None = None,
    activations: bool = False,
) -> Pairing:
    """Returns two models' tensors and sets of units, from a run of one or of both.

    Args:
        a: a module or a state dict.
        b: likewise.
        tensors_a: its tensors.
        tensors_b: likewise.
        names: which of them belong together.
        example: a batch of inputs to run modules on.
        activations: run both, and keep the outputs of their layers.
    """
    notes: list[str] = []

    def traced(model: Model, which: str) -> UnitSets | None:
        network = network_of(model)
        if network is None:
            return None
        try:
            return unit_sets(network, example=example, activations=activations)
        except TracingError as error:
            notes.append(f"{which} could not be traced: {error}")
            return None

    # The null is about `b`, so its sets count; `a`'s are asked where it has none.
    of_a = False
    own, other = traced(b, "b"), None
    if own is None:
        of_a = True
        own = traced(a, "a")
    if own is None:
        of_a = False
        own = unit_sets_by_order(tensors_b)
    elif not of_a and (activations or _differ(tensors_a, tensors_b, names, own)):
        other = traced(a, "a")
    pairs = tensor_pairs(tensors_a, tensors_b, names, own, of_a=of_a, other=other)
    sets, left_out = paired_sets(pairs, own, of_a=of_a, other=other)
    return Pairing(
        pairs=pairs,
        sets=sets,
        left_out=[*own.left_out, *left_out],
        note="; ".join([own.note, *notes]),
        traced_a=own if of_a else other,
        traced_b=None if of_a else own,
    )


def _differ(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    names: Iterable[tuple[str, str]],
    sets: UnitSets,
) -> bool:
    """Whether the models have different numbers of hidden units anywhere."""
    for name_a, name_b in names:
        for axis, n, m in zip(
            sets.axes.get(name_b, ()), a[name_a].shape, b[name_b].shape, strict=False
        ):
            atom = whole_axis(axis)
            if n != m and (atom is None or not atom.pinned):
                return True
    return False
