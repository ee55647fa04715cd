"""How alike two networks' weights are once their hidden units are put in the best common order."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modelgif.lineage._unit_sets import LeftOut, UnitSets, whole_axis
from modelgif.lineage.axes import Atom, atoms, reordered
from modelgif.lineage.correspondence import corresponding
from modelgif.lineage.matching import match_units
from modelgif.lineage.model_tensors import Model, tensors_of
from modelgif.lineage.pairing import Pairing, pairing
from modelgif.lineage.unit_features import (
    PairedSet,
    TensorPair,
    scaled,
    standard_rows,
    unit_rows,
)

Orders = dict[Atom, np.ndarray]

_ROUNDS = 20
# Enough for lengths along both axes to settle to the third digit.
_SCALINGS = 8


@dataclass(frozen=True)
class LayerSimilarity:
    """How alike one tensor is in both models, after alignment.

    Attributes:
        name: the tensor.
        cosine: of the two, with the scales of their units made alike.
        n_weights: numbers in the tensor.
    """

    name: str
    cosine: float
    n_weights: int


@dataclass(frozen=True, eq=False)
class AlignedSimilarity:
    """What `aligned_similarity` found.

    Attributes:
        similarity: the mean over weights of the layers' cosines.
        median: the median over layers.
        layers: one per weight of two or more axes.
        left_out: units that were not aligned and tensors that cannot be compared, with the reason.
        moved: share of the units that alignment put in another place.
        start: the start that led to the best alignment.
        orders: per set of units, by name: the unit of `b` that is put in the place of each of `a`.
        notes: how sets were found and tensors paired.
    """

    similarity: float
    median: float
    layers: tuple[LayerSimilarity, ...]
    left_out: tuple[LeftOut, ...]
    moved: float
    start: str
    orders: Mapping[str, np.ndarray]
    notes: tuple[str, ...]

    @property
    def distance(self) -> float:
        """One less the similarity, for verdicts that take small scores for nearness."""
        return 1 - self.similarity

    def table(self) -> list[dict[str, str | int | float]]:
        """Returns one row per layer."""
        return [
            {"layer": layer.name, "cosine": layer.cosine, "weights": layer.n_weights}
            for layer in self.layers
        ]

    def __str__(self) -> str:
        return (
            f"similarity {self.similarity:.3f} after alignment, median {self.median:.3f} over "
            f"{len(self.layers)} weights, {self.moved:.0%} of the units moved"
        )


def aligned_similarity(
    a: Model,
    b: Model,
    *,
    example: Tensor | None = None,
    references: Tensor | None = None,
    n_random: int = 2,
    seed: int = 0,
) -> AlignedSimilarity:
    """Returns how alike two networks are, whatever the order and the scale of their hidden units.

    Who permutes a stolen network's units, or multiplies those of a ReLU layer by positive factors
    that the next layer undoes, leaves its function as it is and evades `origin_test`. Here sets of
    units are aligned first, one after the other until none changes, each by the assignment with
    the largest sum of products given all others: the weight matching of Ainsworth, Hayase and
    Srinivasa, "Git Re-Basin", ICLR 2023. It starts from the units as they are, from layer after
    layer in the order of the network, from random orders and, with `references`, from the
    correlations of activations; the best end is kept. Scales are taken away beforehand, by slices
    of equal length along the first two axes of each weight.

    There is no null with an exact law: independent networks are aligned as well as they can be,
    and their similarity is above zero. Judge it among networks known to be independent.

    Args:
        a: a module or a state dict; two state dicts are aligned only where their shapes let one be
            sure of their units, see `unit_sets_by_order`.
        b: likewise, of as many units.
        example: see `origin_test`.
        references: inputs ``[N, ...]`` for an alignment by activations; needs two modules.
        n_random: random orders to start from.
        seed: of these.

    Raises:
        ValueError: if the networks share no weights, or `references` are given for a state dict.

    Example:
        >>> from torch import nn
        >>> _ = torch.manual_seed(0)
        >>> a = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
        >>> order = torch.randperm(32)
        >>> b = {"0.weight": 3 * a[0].weight[order], "0.bias": 3 * a[0].bias[order]}
        >>> b |= {"2.weight": a[2].weight[:, order] / 3, "2.bias": a[2].bias}
        >>> round(aligned_similarity(a, b).similarity, 3)
        1.0
    """
    if references is not None and (isinstance(a, Mapping) or isinstance(b, Mapping)):
        raise ValueError(
            "references need two modules, which can be run on them; got a state dict. Leave them "
            "out, or load the weights into their network."
        )
    tensors_a, tensors_b = tensors_of(a), tensors_of(b)
    names, how = corresponding(tensors_a, tensors_b)
    found = pairing(a, b, tensors_a, tensors_b, names, example=example)
    left_out = list(found.left_out)
    sets: list[PairedSet] = []
    for paired in found.sets:
        if paired.n_a == paired.n_b:
            sets.append(paired)
        else:
            reason = f"{paired.n_a} units in one model and {paired.n_b} in the other"
            left_out.append(LeftOut(paired.units.name, reason))
    in_sets = _tensors_in(found)
    pairs = [p for p in in_sets if p.a.shape == p.b.shape and p.a.ndim > 1]
    left_out += [
        LeftOut(p.name, f"of different shapes: {list(p.a.shape)} and {list(p.b.shape)}")
        for p in in_sets
        if p.a.shape != p.b.shape
    ]
    if not pairs:
        raise ValueError(
            "the models must share at least one weight of the same shape, but none of "
            f"{len(in_sets)} is alike in both."
        )
    # Two equal tensors of different layers are one in no model, so that ids tell them apart.
    ready = {id(t): scaled(t, _SCALINGS) for p in pairs for t in (p.a, p.b)}
    starts = _starts(sets, pairs, ready, n_random, seed)
    if references is not None:
        starts["activations"] = _by_activations(a, b, names, references, found, sets, seed)
    best: tuple[float, str, Orders] | None = None
    for start, orders in starts.items():
        orders = _descend(sets, pairs, ready, orders, seed)
        score = _score(pairs, ready, orders)
        if best is None or score > best[0] + 1e-9:
            best = (score, start, orders)
    assert best is not None
    _, start, orders = best
    layers = [_layer(pair, ready, orders) for pair in pairs]
    weights = np.array([layer.n_weights for layer in layers], dtype=float)
    cosines = np.array([layer.cosine for layer in layers])
    units = sum(paired.n_a for paired in sets)
    stay = sum(int((orders[p.atom_b] == np.arange(p.n_b)).sum()) for p in sets)
    return AlignedSimilarity(
        similarity=float((cosines * weights).sum() / weights.sum()),
        median=float(np.median(cosines)),
        layers=tuple(layers),
        left_out=tuple(left_out),
        moved=1 - stay / units if units else 0.0,
        start=start,
        orders={paired.units.name: orders[paired.atom_b] for paired in sets},
        notes=(found.note, f"tensors paired {how}"),
    )


def _tensors_in(found: Pairing) -> list[TensorPair]:
    return [p for p in found.pairs if p.a.ndim > 0]


def _starts(
    sets: list[PairedSet],
    pairs: list[TensorPair],
    ready: Mapping[int, Tensor],
    n_random: int,
    seed: int,
) -> dict[str, Orders]:
    rng = np.random.default_rng(seed)
    starts: dict[str, Orders] = {
        "as they are": {p.atom_b: np.arange(p.n_b) for p in sets},
        "layer after layer": _forward(sets, pairs, ready, seed),
    }
    for index in range(n_random):
        starts[f"random {index}"] = {p.atom_b: rng.permutation(p.n_b) for p in sets}
    return starts


def _forward(
    sets: list[PairedSet], pairs: list[TensorPair], ready: Mapping[int, Tensor], seed: int
) -> Orders:
    """Aligns each set by tensors whose other axes are known by then, as far as there are any."""
    orders: Orders = {}
    waiting = list(sets)
    while waiting:
        for paired in waiting:
            known = [
                pair
                for pair in pairs
                if pair.axis_of(paired.atom_a, paired.atom_b) is not None
                and all(
                    atom is paired.atom_b or atom.pinned or atom in orders
                    for other in pair.axes_b
                    if other is not None
                    for atom in atoms(other)
                )
            ]
            if known:
                break
        else:
            paired, known = waiting[0], []
        orders[paired.atom_b] = (
            _aligned(paired, known, ready, orders, seed) if known else np.arange(paired.n_b)
        )
        waiting.remove(paired)
    return orders


def _descend(
    sets: list[PairedSet],
    pairs: list[TensorPair],
    ready: Mapping[int, Tensor],
    orders: Orders,
    seed: int,
) -> Orders:
    orders = dict(orders)
    for turn in range(_ROUNDS):
        changed = False
        for paired in sets:
            order = _aligned(paired, pairs, ready, orders, seed + turn)
            changed |= not np.array_equal(order, orders[paired.atom_b])
            orders[paired.atom_b] = order
        if not changed:
            break
    return orders


def _aligned(
    paired: PairedSet,
    pairs: list[TensorPair],
    ready: Mapping[int, Tensor],
    orders: Orders,
    seed: int,
) -> np.ndarray:
    """The best order of one set, all others as they are."""
    total = torch.zeros(paired.n_a, paired.n_b)
    for pair in pairs:
        axes = [
            dim
            for dim, axis in enumerate(pair.axes_b)
            if axis is not None and any(atom is paired.atom_b for atom in atoms(axis))
        ]
        for dim in axes:
            axis_a, axis_b = pair.axes_a[dim], pair.axes_b[dim]
            if axis_a is None or axis_b is None:
                continue
            x = ready[id(pair.a)]
            # On its own other axis the set has its present order.
            others = {d: orders for d in range(pair.b.ndim) if d != dim}
            y = _moved(pair, ready[id(pair.b)], others)
            rest = _moved(
                pair, y, {dim: {k: v for k, v in orders.items() if k is not paired.atom_b}}
            )
            total += unit_rows(x, axis_a, dim, paired.atom_a) @ (
                unit_rows(rest, axis_b, dim, paired.atom_b).T
            )
    return _inverse(match_units(total, np.random.default_rng(seed)))


def _inverse(matching: np.ndarray) -> np.ndarray:
    """From the unit of `a` per unit of `b` to the unit of `b` per unit of `a`."""
    return np.argsort(matching, kind="stable")


def _moved(pair: TensorPair, tensor: Tensor, orders: Mapping[int, Orders]) -> Tensor:
    for dim, wanted in orders.items():
        axis = pair.axes_b[dim]
        if axis is not None and any(atom in wanted for atom in atoms(axis)):
            index = torch.from_numpy(np.ascontiguousarray(reordered(axis, wanted)))
            tensor = tensor.index_select(dim, index)
    return tensor


def _layer(pair: TensorPair, ready: Mapping[int, Tensor], orders: Orders) -> LayerSimilarity:
    x = ready[id(pair.a)]
    y = _moved(pair, ready[id(pair.b)], {d: orders for d in range(pair.b.ndim)})
    size = float(x.norm() * y.norm())
    cosine = float((x * y).sum()) / size if size else 0.0
    return LayerSimilarity(pair.name, cosine, pair.a.numel())


def _score(pairs: list[TensorPair], ready: Mapping[int, Tensor], orders: Orders) -> float:
    layers = [_layer(pair, ready, orders) for pair in pairs]
    return sum(la.cosine * la.n_weights for la in layers) / sum(la.n_weights for la in layers)


def _by_activations(
    a: Model,
    b: Model,
    names: list[tuple[str, str]],
    references: Tensor,
    found: Pairing,
    sets: list[PairedSet],
    seed: int,
) -> Orders:
    """Orders by the correlations of layers' outputs, for sets that some layer gives as they are."""
    tensors_a, tensors_b = tensors_of(a), tensors_of(b)
    run = pairing(a, b, tensors_a, tensors_b, names, example=references, activations=True)
    orders: Orders = {paired.atom_b: np.arange(paired.n_b) for paired in sets}
    by_name = {paired.units.name: paired for paired in run.sets}
    if run.traced_a is None or run.traced_b is None:
        raise ValueError(
            f"both networks must run on the references {list(references.shape)}: {run.note}."
        )
    for paired in sets:
        again = by_name.get(paired.units.name)
        if again is None or again.n_a != again.n_b:
            continue
        x = _activations(run.traced_a, again.atom_a)
        y = _activations(run.traced_b, again.atom_b)
        if len(x) != len(y) or not x:
            continue
        total = sum(
            (
                standard_rows(left) @ standard_rows(right).T
                for left, right in zip(x, y, strict=True)
            ),
            torch.zeros(again.n_a, again.n_b),
        )
        orders[paired.atom_b] = _inverse(match_units(total, np.random.default_rng(seed)))
    return orders


def _activations(sets: UnitSets, atom: Atom) -> list[Tensor]:
    return [values for axis, values in sets.activations if whole_axis(axis) is atom]
