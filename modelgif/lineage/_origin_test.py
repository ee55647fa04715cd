"""An exact test that two networks do not come from one random start."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from modelgif.lineage._null import log_fixed_points, log_increasing, longest_increasing
from modelgif.lineage._unit_sets import LeftOut, whole_axis
from modelgif.lineage.axes import Atom
from modelgif.lineage.correspondence import corresponding
from modelgif.lineage.matching import match_units
from modelgif.lineage.model_tensors import Model, tensors_of
from modelgif.lineage.pairing import pairing
from modelgif.lineage.unit_features import (
    Features,
    PairedSet,
    TensorPair,
    similarity,
    unlike_units,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LayerOrigin:
    """How the units of one set match.

    Attributes:
        name: the tensor whose rows they are.
        n_a: units in `a`.
        n_b: units in `b`.
        n_matched: units matched to themselves; for unlike numbers of units, those that are matched
            in their order.
        statistic: ``fixed_points`` or ``longest_increasing``, whose law under the null is known.
        log10_p: log10 of the p-value of this set alone.
        matching: per unit of `b`, the unit of `a` that it is matched to, or -1.
        tensors: what spoke for it.
    """

    name: str
    n_a: int
    n_b: int
    n_matched: int
    statistic: str
    log10_p: float
    matching: np.ndarray
    tensors: tuple[str, ...]

    @property
    def share(self) -> float:
        """Matched units, as a share of the smaller number."""
        return self.n_matched / min(self.n_a, self.n_b)


@dataclass(frozen=True, eq=False)
class OriginTest:
    """What `origin_test` found.

    Attributes:
        log10_p: log10 of the p-value of all sets together; 0 where nothing could be tested.
        layers: one per set of hidden units.
        left_out: units that say nothing, each with the reason.
        n_sets: what the smallest p-value was multiplied by.
        notes: how sets were found and tensors paired.
    """

    log10_p: float
    layers: tuple[LayerOrigin, ...]
    left_out: tuple[LeftOut, ...]
    n_sets: int
    notes: tuple[str, ...]

    def table(self) -> list[dict[str, str | int | float]]:
        """Returns one row per layer."""
        return [
            {
                "layer": layer.name,
                "units_a": layer.n_a,
                "units_b": layer.n_b,
                "matched": layer.n_matched,
                "share": layer.share,
                "log10_p": layer.log10_p,
            }
            for layer in self.layers
        ]

    def plot(self, *, max_layers: int = 12) -> "Figure":
        """Returns the matchings as a picture: a diagonal for a common origin, noise for none."""
        from matplotlib.figure import Figure

        layers = _spread(self.layers, max_layers)
        columns = min(4, max(1, len(layers)))
        n_rows = max(1, math.ceil(len(layers) / columns))
        figure = Figure(figsize=(2.6 * columns, 2.9 * n_rows), layout="constrained")
        figure.suptitle(f"common origin: log10 p = {self.log10_p:.4g}")
        for index, layer in enumerate(layers):
            axes = figure.add_subplot(n_rows, columns, index + 1)
            kept = np.nonzero(layer.matching >= 0)[0]
            axes.plot(kept, layer.matching[kept], ",k" if len(kept) > 512 else ".k", markersize=2)
            axes.set_aspect("equal" if layer.n_a == layer.n_b else "auto")
            axes.set_title(f"{layer.name}\n{layer.share:.0%}, {layer.log10_p:.4g}", fontsize=7)
            axes.tick_params(labelsize=6)
            axes.set_xlabel("unit of b", fontsize=6)
            axes.set_ylabel("unit of a", fontsize=6)
        return figure

    def __str__(self) -> str:
        if not self.layers:
            return f"no layer could be tested ({len(self.left_out)} left out)"
        matched = sum(layer.n_matched for layer in self.layers)
        units = sum(min(layer.n_a, layer.n_b) for layer in self.layers)
        return (
            f"{matched:,} of {units:,} units in {len(self.layers)} layers matched to themselves, "
            f"log10 p = {self.log10_p:.4g} under independent origins"
            + (f"; {len(self.left_out)} left out" if self.left_out else "")
        )


def origin_test(a: Model, b: Model, *, example: Tensor | None = None, seed: int = 0) -> OriginTest:
    """Tests whether two networks were trained from random starts of their own.

    **Null hypothesis**: `b` was trained from a random initialisation of its own, drawn
    independently of `a`, by a procedure that treats the units of a layer alike. Then putting `b`'s
    units of a set in another order, with all weights that belong to them, gives a network that was
    as likely to come about. So the matching of `b`'s units to `a`'s, which moves along with the
    units, is a uniformly random permutation, whatever the architecture, data, labels and training
    of the two are. This is the idea of Zhu, Ahmed, Kuditipudi and Liang, "Independence Tests for
    Language Models", arXiv 2502.12292.

    For each set of hidden units, `b`'s are matched to `a`'s by linear assignment on correlations
    of their weights. A tensor speaks only if exactly one of its axes belongs to the set: otherwise
    the matching would not move along. Ties are broken by chance. The statistic is the number of
    units matched to themselves, with its exact law; for unlike numbers of units it is the longest
    run of matched units in rising order, P(L >= m) <= C(n, m) / m!. The smallest p-value, times
    the number of sets, is the p-value of all, which is valid under any dependence of the sets.

    A small p-value shows a **common origin**: one of the two descends from the other, or both from
    one ancestor, or both from one random start, such as ``torch.manual_seed(42)``. It does not
    tell which, and is no proof of theft. A large one is no proof of innocence: who permutes the
    units of a stolen network evades this test, see `aligned_similarity`.

    Args:
        a: a module or a state dict.
        b: likewise; a wrapper for preprocessing is looked through.
        example: a batch of inputs for which modules are run to find sets of units; without it,
            random inputs of usual sizes are tried. Two state dicts need none: then only what the
            order and shapes of weights make sure of counts, and nothing is checked numerically.
        seed: of the order in which ties are broken.

    Raises:
        ValueError: if no weight of one model has a place in the other, or weights are not finite.
        TypeError: for what is neither a module nor a state dict.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> def network(seed):
        ...     _ = torch.manual_seed(seed)
        ...     return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
        >>> stolen = network(0)
        >>> with torch.no_grad():
        ...     stolen[0].weight += 0.05 * torch.randn(32, 20)
        >>> round(origin_test(network(0), stolen).log10_p)
        -35
        >>> origin_test(network(0), network(1)).log10_p > -2
        True
    """
    tensors_a, tensors_b = tensors_of(a), tensors_of(b)
    names, how = corresponding(tensors_a, tensors_b)
    found = pairing(a, b, tensors_a, tensors_b, names, example=example)
    unlike = unlike_units(found.pairs)
    left_out = list(found.left_out)
    kept: list[PairedSet] = []
    for paired in found.sets:
        why = unlike.get(paired.atom_a) or unlike.get(paired.atom_b)
        if why:
            left_out.append(
                LeftOut(paired.units.name, f"its units do not seem to be treated alike: {why}")
            )
        else:
            kept.append(paired)
    layers, silent = _matched(kept, seed)
    # What was left out because of its values counts as tested, with nothing found.
    n_sets = len(found.sets) - len(silent)
    logs = [layer.log10_p for layer in layers]
    return OriginTest(
        log10_p=min(0.0, min(logs) + math.log10(n_sets)) if logs else 0.0,
        layers=tuple(layers),
        left_out=(*left_out, *silent),
        n_sets=n_sets,
        notes=(found.note, f"tensors paired {how}"),
    )


def _matched(sets: list[PairedSet], seed: int) -> tuple[list[LayerOrigin], list[LeftOut]]:
    """Matches each set, those of unlike numbers in the order in which they are found.

    Where another axis has another number of units in the two models, its columns are put side by
    side by that axis' own matching, found before from tensors that do not have this set: then the
    order of this set's units plays no part in it, and this set's matching stays uniform.
    """
    features = Features()
    layers: list[LayerOrigin] = []
    silent: list[LeftOut] = []
    matchings: dict[Atom, np.ndarray] = {}
    used: dict[Atom, set[Atom]] = {}
    for index, paired in enumerate(sets):
        blocks: list[tuple[Tensor, Tensor]] = []
        names: list[str] = []
        depends = {paired.atom_b}
        for pair, axis in paired.tensors:
            columns = _columns(pair, axis, paired.atom_b, matchings, used)
            if columns is None:
                continue
            blocks.append(features.rows_of(pair, axis, paired, columns))
            names.append(pair.name)
            for other in range(pair.b.ndim):
                axis_b = pair.axes_b[other]
                atom = None if axis_b is None else whole_axis(axis_b)
                if atom is not None and not atom.pinned:
                    depends |= {atom, *used.get(atom, ())} if other in columns else {atom}
        if not blocks:
            silent.append(
                LeftOut(paired.units.name, "no tensor has alike other axes in both models")
            )
            continue
        rng = np.random.default_rng([seed, index])
        matching = match_units(similarity(blocks, paired.n_a, paired.n_b), rng)
        if paired.n_a != paired.n_b:
            matchings[paired.atom_b], used[paired.atom_b] = matching, depends
        layers.append(_layer(paired, matching, tuple(names)))
    return layers, silent


def _columns(
    pair: TensorPair,
    axis: int,
    atom_b: Atom,
    matchings: Mapping[Atom, np.ndarray],
    used: Mapping[Atom, set[Atom]],
) -> dict[int, np.ndarray] | None:
    found: dict[int, np.ndarray] = {}
    for dim in range(pair.a.ndim):
        if dim == axis or pair.a.shape[dim] == pair.b.shape[dim]:
            continue
        axis_b = pair.axes_b[dim]
        atom = None if axis_b is None else whole_axis(axis_b)
        if atom is None or atom not in matchings or atom_b in used[atom]:
            return None
        found[dim] = matchings[atom]
    return found


def _layer(paired: PairedSet, matching: np.ndarray, tensors: tuple[str, ...]) -> LayerOrigin:
    n = min(paired.n_a, paired.n_b)
    if paired.n_a == paired.n_b:
        statistic = "fixed_points"
        n_matched = int((matching == np.arange(n)).sum())
        log_p = log_fixed_points(n, n_matched)
    else:
        statistic = "longest_increasing"
        n_matched = longest_increasing(matching[matching >= 0])
        log_p = log_increasing(n, n_matched)
    return LayerOrigin(
        name=paired.units.name,
        n_a=paired.n_a,
        n_b=paired.n_b,
        n_matched=n_matched,
        statistic=statistic,
        log10_p=log_p / math.log(10),
        matching=matching,
        tensors=tensors,
    )


def _spread(layers: tuple[LayerOrigin, ...], n: int) -> list[Any]:
    if len(layers) <= n:
        return list(layers)
    return [layers[i] for i in np.linspace(0, len(layers) - 1, n).round().astype(int)]
