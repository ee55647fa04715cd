"""What the positions along an axis stand for: units that move together, however they are laid out.

An axis is described by a small tree. Its leaves are *atoms*: a number of units that may be put in
another order, or, when pinned, may not. A *product* lays atoms out row by row, as flattening does;
a *join* lays them one behind the other, as concatenation does. Operations that need two axes to be
the same make their atoms the same, and those that need an axis in parts divide its atoms, so that
at the end each free atom is a set of hidden units with all the axes on which it occurs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np


class Atom:
    """Units along an axis.

    Attributes:
        size: how many.
        pinned: why they must stay in their order; empty when they need not.
        becomes: the tree that has taken this atom's place, if any.
    """

    def __init__(self, size: int, pinned: str = "") -> None:
        self.size, self.pinned = size, pinned
        self.becomes: Axis | None = None


class Product:
    """Axes laid out row by row, the last one fastest."""

    def __init__(self, parts: Sequence[Axis]) -> None:
        self.parts = list(parts)
        self.size = int(np.prod([part.size for part in parts], dtype=np.int64))


class Join:
    """Axes one behind the other."""

    def __init__(self, parts: Sequence[Axis]) -> None:
        self.parts = list(parts)
        self.size = sum(part.size for part in parts)


Axis = Atom | Product | Join


def resolve(axis: Axis) -> Axis:
    """Returns the axis in its present form: atoms replaced, nested trees made flat."""
    if isinstance(axis, Atom):
        if axis.becomes is None:
            return axis
        axis.becomes = resolve(axis.becomes)
        return axis.becomes
    kind = type(axis)
    parts: list[Axis] = []
    for part in map(resolve, axis.parts):
        if isinstance(part, kind):
            parts += part.parts
        elif part.size != (1 if kind is Product else 0):
            parts.append(part)
    if len(parts) == 1:
        return parts[0]
    return kind(parts) if parts else Atom(axis.size, "a single position")


def atoms(axis: Axis) -> Iterator[Atom]:
    """Returns the atoms of an axis from left to right, as often as they occur."""
    axis = resolve(axis)
    if isinstance(axis, Atom):
        yield axis
    else:
        for part in axis.parts:
            yield from atoms(part)


def pin(axis: Axis, why: str) -> None:
    """Says that the positions along an axis must stay in their order."""
    for atom in atoms(axis):
        atom.pinned = atom.pinned or why


def same(a: Axis, b: Axis) -> None:
    """Makes two axes one: position by position, they stand for the same units.

    Layouts that have no common refinement are pinned, which is always safe: a pinned atom is no
    set of units.
    """
    a, b = resolve(a), resolve(b)
    if a is b or (a.size == b.size == 1):
        return
    if a.size != b.size:
        _pin_both(a, b, "axes of different sizes meet")
    elif isinstance(a, Atom):
        _replace(a, b)
    elif isinstance(b, Atom):
        _replace(b, a)
    elif isinstance(a, Product) and isinstance(b, Product):
        if not _same_products(a, b):
            _pin_both(a, b, "two layouts of one axis do not divide each other")
    elif not _same_joins(a, b):
        _pin_both(a, b, "parts of one axis do not meet")


def split(axes: Sequence[Axis], sizes: Sequence[int]) -> list[Axis]:
    """Returns the axes of the given sizes that neighbouring `axes` become when they are reshaped.

    Args:
        axes: one or more, laid out row by row.
        sizes: with the same product.
    """
    stack = _factors(axes)[::-1]
    found: list[Axis] = []
    for size in sizes:
        parts: list[Axis] = []
        while size > 1:
            # Dividing one atom may have replaced another one in the stack.
            stack += _factors([stack.pop()])[::-1]
            part = stack.pop()
            if part.size <= size and size % part.size == 0:
                parts.append(part)
                size //= part.size
                continue
            pair = _divide(part, size) if part.size % size == 0 else None
            if pair is None:
                why = "an axis is reshaped across its parts"
                for axis in axes:
                    pin(axis, why)
                return [Atom(n, why) for n in sizes]
            stack += [pair[1], pair[0]]
        found.append(resolve(Product(parts)))
    return found


def cut(axis: Axis, at: int) -> tuple[Axis, Axis] | None:
    """Returns an axis as the part before a position and the rest; None where units straddle it."""
    axis = resolve(axis)
    if at <= 0 or at >= axis.size:
        empty = Atom(0, "nothing")
        return (empty, axis) if at <= 0 else (axis, empty)
    if isinstance(axis, Atom):
        left, right = Atom(at, axis.pinned), Atom(axis.size - at, axis.pinned)
        axis.becomes = Join([left, right])
        return left, right
    if isinstance(axis, Product):
        first, rest = axis.parts[0], axis.parts[1:]
        inner = axis.size // first.size
        pair = cut(first, at // inner) if at % inner == 0 else None
        return None if pair is None else (Product([pair[0], *rest]), Product([pair[1], *rest]))
    before: list[Axis] = []
    for index, part in enumerate(axis.parts):
        if at < part.size:
            pair = cut(part, at)
            if pair is None:
                return None
            return Join([*before, pair[0]]), Join([pair[1], *axis.parts[index + 1 :]])
        before.append(part)
        at -= part.size
    return axis, Atom(0, "nothing")


def positions(axis: Axis, atom: Atom) -> np.ndarray | None:
    """Returns where each unit of an atom is along an axis, ``[n_units, n_positions]``.

    None where the atom does not occur, or twice in one product, so that a position belongs to two
    of its units.
    """
    unit = _unit_of(resolve(axis), atom)
    if unit is None or not (unit >= 0).any():
        return None
    (where,) = np.nonzero(unit >= 0)
    return where[np.argsort(unit[where], kind="stable")].reshape(atom.size, -1)


def reordered(axis: Axis, orders: Mapping[Atom, np.ndarray]) -> np.ndarray:
    """Returns the positions along an axis in the order that its atoms' new orders give it."""
    axis = resolve(axis)
    if isinstance(axis, Atom):
        return np.asarray(orders.get(axis, np.arange(axis.size)))
    parts = [reordered(part, orders) for part in axis.parts]
    if isinstance(axis, Join):
        starts = np.cumsum([0, *(part.size for part in axis.parts)])
        return np.concatenate([part + start for part, start in zip(parts, starts, strict=False)])
    found = np.zeros(1, dtype=np.int64)
    for part in parts:
        found = (found[:, None] * len(part) + part).ravel()
    return found


def _factors(axes: Sequence[Axis]) -> list[Axis]:
    whole = resolve(Product(axes))
    return list(whole.parts) if isinstance(whole, Product) else [whole]


def _replace(atom: Atom, axis: Axis) -> None:
    if atom.pinned:
        pin(axis, atom.pinned)
    elif isinstance(axis, Atom) and axis.pinned:
        atom.pinned = axis.pinned
    elif any(part is atom for part in atoms(axis)):
        _pin_both(atom, axis, "an axis is a part of itself")
        return
    if isinstance(axis, Atom) or not atom.pinned:
        atom.becomes = axis


def _pin_both(a: Axis, b: Axis, why: str) -> None:
    pin(a, why)
    pin(b, why)


def _divide(part: Axis, size: int) -> tuple[Axis, Axis] | None:
    if isinstance(part, Atom):
        left, right = Atom(size, part.pinned), Atom(part.size // size, part.pinned)
        part.becomes = Product([left, right])
        return left, right
    if isinstance(part, Join) and len({inner.size for inner in part.parts}) == 1:
        if len(part.parts) != size:
            return None
        # Blocks that are addressed by one index share the order within them.
        for inner in part.parts[1:]:
            same(part.parts[0], inner)
        return Atom(size, "blocks of an axis in their order"), resolve(part.parts[0])
    return None


def _same_products(a: Product, b: Product) -> bool:
    left, right = _factors([a])[::-1], _factors([b])[::-1]
    while left and right:
        left += _factors([left.pop()])[::-1]
        right += _factors([right.pop()])[::-1]
        x, y = left.pop(), right.pop()
        if x.size == y.size:
            same(x, y)
            continue
        larger, smaller = (x, y) if x.size > y.size else (y, x)
        if larger.size % smaller.size:
            return False
        pair = _divide(larger, smaller.size)
        if pair is None:
            return False
        same(pair[0], smaller)
        (left if larger is x else right).append(pair[1])
    return True


def _same_joins(a: Axis, b: Axis) -> bool:
    join, other = (a, b) if isinstance(a, Join) else (b, a)
    assert isinstance(join, Join)
    rest: Axis = other
    for part in list(join.parts):
        pair = cut(rest, part.size)
        if pair is None:
            return False
        same(part, pair[0])
        rest = pair[1]
    return True


def _unit_of(axis: Axis, atom: Atom) -> np.ndarray | None:
    if isinstance(axis, Atom):
        return np.arange(axis.size) if axis is atom else np.full(axis.size, -1)
    parts = [_unit_of(resolve(part), atom) for part in axis.parts]
    if any(part is None for part in parts):
        return None
    whole = [part for part in parts if part is not None]
    if isinstance(axis, Join):
        return np.concatenate(whole)
    if sum(bool((part >= 0).any()) for part in whole) > 1:
        return None
    found = np.full(1, -1)
    for part in whole:
        found = np.maximum(found[:, None], part[None]).ravel()
    return found
