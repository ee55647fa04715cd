"""What tells the units of two models apart: their weights, in a form that scales do not change."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from modelgif.lineage._unit_sets import LeftOut, UnitSet, UnitSets, whole_axis
from modelgif.lineage.axes import Atom, Axis, Product, atoms, positions, resolve
from modelgif.lineage.exchangeability import paired_by_number, told_apart

_MAX_VALUES = 2304


@dataclass(eq=False)
class TensorPair:
    """One tensor of each model that take the same place, and what their axes stand for.

    An axis is None where the sets were found in the other model alone, and do not fit its size.
    """

    name: str
    a: Tensor
    b: Tensor
    axes_a: tuple[Axis | None, ...]
    axes_b: tuple[Axis | None, ...]

    def axis_of(self, atom_a: Atom, atom_b: Atom) -> int | None:
        """Returns the one axis on which a set occurs in both; None if on none or more."""
        found = [
            tuple(
                i
                for i, axis in enumerate(axes)
                if axis is not None and any(part is atom for part in atoms(axis))
            )
            for axes, atom in ((self.axes_a, atom_a), (self.axes_b, atom_b))
        ]
        return found[0][0] if found[0] == found[1] and len(found[0]) == 1 else None


@dataclass(eq=False)
class PairedSet:
    """A set of units in both models, and the tensors that speak for it."""

    units: UnitSet
    atom_a: Atom
    atom_b: Atom
    n_a: int
    n_b: int
    tensors: list[tuple[TensorPair, int]] = field(default_factory=list)


def tensor_pairs(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    names: Iterable[tuple[str, str]],
    sets: UnitSets,
    *,
    of_a: bool,
    other: UnitSets | None = None,
) -> list[TensorPair]:
    """Returns the pairs of tensors with their axes.

    Args:
        a: one model's tensors.
        b: the other's.
        names: which belong together.
        sets: the sets of one of the two.
        of_a: whether they are `a`'s; a pair then goes by its name in `a`.
        other: the other model's sets, where its tensors have other shapes.
    """
    found: list[TensorPair] = []
    for name_a, name_b in names:
        own, others = (name_a, name_b) if of_a else (name_b, name_a)
        axes = sets.axes.get(own)
        if axes is None:
            continue
        x, y = a[name_a], b[name_b]
        mine, theirs = (x, y) if of_a else (y, x)
        if other is not None:
            counterpart = other.axes.get(others, ())
        else:
            counterpart = tuple(
                axis if axis.size == n or whole_axis(axis) is not None else None
                for axis, n in zip(axes, theirs.shape, strict=False)
            )
        if mine.ndim == theirs.ndim == len(axes) == len(counterpart):
            axes_a, axes_b = (axes, counterpart) if of_a else (counterpart, axes)
            found.append(TensorPair(own, x, y, axes_a, axes_b))
    return found


def paired_sets(
    pairs: Iterable[TensorPair], sets: UnitSets, *, of_a: bool, other: UnitSets | None = None
) -> tuple[list[PairedSet], list[LeftOut]]:
    """Returns the sets that some tensor of both models speaks for, and those that none does.

    Args:
        pairs: see `tensor_pairs`, as are the others.
        sets: the sets of one of the two.
        of_a: whether they are `a`'s.
        other: the other model's sets; only what both found counts.
    """
    pairs = list(pairs)
    found: list[PairedSet] = []
    left_out: list[LeftOut] = []
    counterparts = _counterparts(pairs, of_a=of_a)
    counted = {units.atom for units in (other.sets if other is not None else sets.sets)}
    for units in sets.sets:
        partner = counterparts.get(units.atom)
        if partner is None or partner not in counted:
            left_out.append(LeftOut(units.name, "the other model has no such set of units"))
            continue
        atom_a, atom_b = (units.atom, partner) if of_a else (partner, units.atom)
        speaking: list[tuple[TensorPair, int]] = []
        counts: set[tuple[int, int]] = set()
        for pair in pairs:
            axis = pair.axis_of(atom_a, atom_b)
            if axis is None:
                continue
            n = _count(pair.axes_a[axis], atom_a, pair.a.shape[axis])
            m = _count(pair.axes_b[axis], atom_b, pair.b.shape[axis])
            if n and m:
                counts.add((n, m))
                speaking.append((pair, axis))
        if not speaking:
            left_out.append(LeftOut(units.name, "no tensor of both models has it on one axis only"))
        elif len(counts) > 1:
            left_out.append(LeftOut(units.name, "tensors differ in the number of its units"))
        else:
            ((n, m),) = counts
            found.append(PairedSet(units, atom_a, atom_b, n, m, speaking))
    return found, left_out


def unlike_units(pairs: Iterable[TensorPair]) -> dict[Atom, str]:
    """Returns the sets whose units an initialisation or a design told apart, with the reason."""
    found: dict[Atom, str] = {}
    for pair in pairs:
        identical = pair.a.shape == pair.b.shape and torch.equal(pair.a, pair.b)
        for tensor, axes in ((pair.a, pair.axes_a), (pair.b, pair.axes_b)):
            own = [None if axis is None else whole_axis(axis) for axis in axes]
            free = [atom is not None and not atom.pinned for atom in own]
            if tensor.ndim >= 2 and (free[0] or free[1]) and own[0] is not own[1]:
                why = paired_by_number(tensor)
                for atom in own[:2]:
                    if why and atom is not None and not atom.pinned:
                        found.setdefault(atom, f"{pair.name}: {why}")
            for dim, atom in enumerate(own):
                if atom is None or atom.pinned:
                    continue
                why = told_apart(_some_values(tensor.movedim(dim, 0)), suspicious=identical)
                if why:
                    found.setdefault(atom, f"{pair.name}: {why}")
    return found


class Features:
    """Rows of units, taken from tensors whose scales are made alike once."""

    def __init__(self) -> None:
        self._scaled: dict[int, Tensor] = {}

    def rows_of(
        self, pair: TensorPair, axis: int, paired: PairedSet, columns: Mapping[int, np.ndarray]
    ) -> tuple[Tensor, Tensor]:
        """Returns the rows of both models' units, ``[n_units, n_values]``.

        Args:
            pair: the tensors.
            axis: the axis of the units.
            paired: the units.
            columns: per other axis of different sizes, the index in `a` of each in `b`, or -1.
        """
        x, y = self._of(pair.a), self._of(pair.b)
        for dim, partner in columns.items():
            kept = np.nonzero(partner >= 0)[0]
            y = y.index_select(dim, torch.from_numpy(kept))
            x = x.index_select(dim, torch.from_numpy(partner[kept]))
        rows = (
            unit_rows(x, pair.axes_a[axis], axis, paired.atom_a),
            unit_rows(y, pair.axes_b[axis], axis, paired.atom_b),
        )
        # More values of one tensor hardly sharpen a correlation, and matching takes its time.
        step = -(-rows[0].shape[1] // _MAX_VALUES)
        return rows[0][:, ::step], rows[1][:, ::step]

    def _of(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._scaled:
            self._scaled[id(tensor)] = scaled(tensor)
        return self._scaled[id(tensor)]


def similarity(blocks: Iterable[tuple[Tensor, Tensor]], n_a: int, n_b: int) -> Tensor:
    """Returns how alike the units of two models are, ``[n_a, n_b]``.

    Each block of rows gives correlations, times the root of their number of values: each is then
    about one standard deviation for unrelated units, whatever its length.
    """
    total = torch.zeros(n_a, n_b)
    for x, y in blocks:
        total += float(x.shape[1]) ** 0.5 * (standard_rows(x) @ standard_rows(y).T)
    return total


def standard_rows(rows: Tensor) -> Tensor:
    """Returns rows without what all have in common, of unit length; one value is standardised."""
    if rows.shape[1] == 1:
        centred = rows - rows.mean()
        return centred / centred.square().mean().sqrt().clamp_min(1e-12)
    rows = rows - rows.mean(0)
    rows -= rows.mean(1, keepdim=True)
    rows /= torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(1e-12)
    return rows


def scaled(tensor: Tensor, rounds: int = 1) -> Tensor:
    """Returns a weight whose slices along its first two axes have about the same length.

    What a norm folded into a weight or a positive factor per unit has changed is undone, exactly
    so as `rounds` grow. Slices far below the median, such as dead units, are not blown up.
    """
    if tensor.ndim < 2:
        return tensor
    found = tensor.clone()
    for _ in range(rounds):
        for axis in (1, 0):
            others = [d for d in range(tensor.ndim) if d != axis]
            length = torch.linalg.vector_norm(found, dim=others, keepdim=True)
            floor = (0.1 * length.median()).clamp_min(1e-30)
            found /= torch.maximum(length, floor)
    return found


def unit_rows(tensor: Tensor, axis: Axis | None, dim: int, atom: Atom) -> Tensor:
    """Returns what a tensor holds of each unit of `atom` along its axis `dim`, as rows."""
    assert axis is not None
    moved = tensor.movedim(dim, 0)
    if whole_axis(axis) is atom:
        return moved.reshape(len(moved), -1)
    where = positions(axis, atom)
    assert where is not None
    return moved[torch.from_numpy(where)].reshape(len(where), -1)


def _some_values(moved: Tensor, n: int = 512) -> Tensor:
    """At least `n` values of each unit, if there are as many; a whole copy would take longer."""
    if moved.ndim > 1:
        moved = moved[:, :: max(1, moved.shape[1] // n)]
    return moved.reshape(len(moved), -1)


def _count(axis: Axis | None, atom: Atom, size: int) -> int:
    if axis is None:
        return 0
    if whole_axis(axis) is atom:
        return size
    where = positions(axis, atom) if axis.size == size else None
    return 0 if where is None else len(where)


def _leaves(axis: Axis) -> Iterator[tuple[str, Atom | None]]:
    axis = resolve(axis)
    if isinstance(axis, Atom):
        yield "pinned" if axis.pinned else "units", axis
        return
    yield "product" if isinstance(axis, Product) else "join", None
    for part in axis.parts:
        yield from _leaves(part)
    yield "end", None


def _counterparts(pairs: Iterable[TensorPair], *, of_a: bool) -> dict[Atom, Atom | None]:
    """Finds for each atom the other model's one in its place; None where two claim it."""
    there: dict[Atom, Atom | None] = {}
    back: dict[Atom, Atom | None] = {}
    for pair in pairs:
        mine, theirs = (pair.axes_a, pair.axes_b) if of_a else (pair.axes_b, pair.axes_a)
        for own, other in zip(mine, theirs, strict=True):
            if own is None or other is None:
                continue
            left, right = list(_leaves(own)), list(_leaves(other))
            if [kind for kind, _ in left] != [kind for kind, _ in right]:
                continue
            for (kind, x), (_, y) in zip(left, right, strict=True):
                if x is None or y is None or kind != "units":
                    continue
                if there.setdefault(x, y) is not y or back.setdefault(y, x) is not x:
                    there[x] = None
    return there
