"""Whether two networks have moved alike from the ancestor that both were fine-tuned from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from modelgif.lineage._origin_test import origin_test
from modelgif.lineage._unit_sets import LeftOut
from modelgif.lineage.correspondence import corresponding
from modelgif.lineage.model_tensors import STATISTICS, Model, tensors_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LayerChange:
    """How alike the changes of one tensor are.

    Attributes:
        name: the tensor, as the victim has it.
        cosine: of the two changes.
        victim: length of the victim's change, relative to the ancestor's tensor.
        suspect: likewise of the suspect's.
        n_weights: numbers in the tensor.
    """

    name: str
    cosine: float
    victim: float
    suspect: float
    n_weights: int


@dataclass(frozen=True)
class ChangeSimilarity:
    """What `change_similarity` found.

    Attributes:
        cosine: of all changes as one vector.
        median: the median of the layers' cosines, over weights of two or more axes, which one
            large layer cannot outweigh.
        layers: one per tensor.
        left_out: tensors that cannot be compared, each with the reason.
    """

    cosine: float
    median: float
    layers: tuple[LayerChange, ...]
    left_out: tuple[LeftOut, ...]

    def table(self) -> list[dict[str, str | int | float]]:
        """Returns one row per layer."""
        return [
            {
                "layer": layer.name,
                "cosine": layer.cosine,
                "change_victim": layer.victim,
                "change_suspect": layer.suspect,
                "weights": layer.n_weights,
            }
            for layer in self.layers
        ]

    def plot(self) -> "Figure":
        """Returns the cosine of each layer, from the first to the last."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([layer.cosine for layer in self.layers], ".-", linewidth=0.8)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(xlabel="tensor", ylabel="cosine of the changes", ylim=(-1.05, 1.05))
        axes.set_title(f"whole {self.cosine:.3f}, median {self.median:.3f}")
        return figure

    def __str__(self) -> str:
        return (
            f"cosine of the changes {self.cosine:.3f}, median {self.median:.3f} "
            f"over {len(self.layers)} tensors"
            + (f"; {len(self.left_out)} left out" if self.left_out else "")
        )


def change_similarity(victim: Model, suspect: Model, ancestor: Model) -> ChangeSimilarity:
    """Returns the cosine of two networks' changes from a common ancestor, per layer and whole.

    Who fine-tunes the victim starts where the victim's own changes have led, and keeps them:

        cos = <victim - ancestor, suspect - ancestor> / (their lengths)

    is near 1 then. Two honest networks that were fine-tuned from the ancestor share less. How much
    depends on the tasks and the training, so the number is to be judged among networks known to be
    honest that have the same ancestor. There is no null that gives a p-value without them.

    Running statistics of norms are no trained weights and do not count.

    Args:
        victim: a module or a state dict, as are the others.
        suspect: of the same architecture; heads may differ.
        ancestor: what both were fine-tuned from.

    Raises:
        ValueError: if the models share no weights, or one of them has not changed at all.

    Example:
        >>> import torch
        >>> start = {"0.weight": torch.zeros(1, 2), "1.weight": torch.ones(1, 2)}
        >>> victim = {"0.weight": torch.tensor([[1.0, 0.0]]), "1.weight": torch.ones(1, 2)}
        >>> suspect = {"0.weight": torch.tensor([[1.0, 1.0]]), "1.weight": torch.ones(1, 2)}
        >>> found = change_similarity(victim, suspect, start)
        >>> round(found.cosine, 3), found.left_out[0].reason
        (0.707, 'not changed in the victim')
    """
    v, s, a = tensors_of(victim), tensors_of(suspect), tensors_of(ancestor)
    to_ancestor = dict(corresponding(v, a)[0])
    to_suspect = dict(corresponding(v, s)[0])
    layers: list[LayerChange] = []
    left_out: list[LeftOut] = []
    product = square_v = square_s = 0.0
    for name, tensor in v.items():
        if name.endswith(STATISTICS) or not tensor.ndim:
            continue
        if name not in to_ancestor or name not in to_suspect:
            missing = "ancestor" if name not in to_ancestor else "suspect"
            left_out.append(LeftOut(name, f"the {missing} has no tensor in its place"))
            continue
        start, other = a[to_ancestor[name]], s[to_suspect[name]]
        if not tensor.shape == start.shape == other.shape:
            shapes = [list(t.shape) for t in (tensor, other, start)]
            left_out.append(
                LeftOut(
                    name,
                    "of different shapes in victim, suspect and ancestor: "
                    f"{shapes[0]}, {shapes[1]}, {shapes[2]}",
                )
            )
            continue
        start = start.double()
        dv, ds = tensor.double() - start, other.double() - start
        inner, vv, ss = float((dv * ds).sum()), float(dv.square().sum()), float(ds.square().sum())
        product, square_v, square_s = product + inner, square_v + vv, square_s + ss
        if not vv or not ss:
            whose = "victim" if not vv else "suspect"
            left_out.append(LeftOut(name, f"not changed in the {whose}"))
            continue
        size = math.sqrt(float(start.square().sum())) or math.nan
        layers.append(
            LayerChange(
                name=name,
                cosine=inner / math.sqrt(vv * ss),
                victim=math.sqrt(vv) / size,
                suspect=math.sqrt(ss) / size,
                n_weights=tensor.numel(),
            )
        )
    for which, square in (("victim", square_v), ("suspect", square_s)):
        if not square:
            raise ValueError(
                f"the {which} must have changed from the ancestor, but all weights that it shares "
                "with victim, suspect and ancestor are the ancestor's: there is nothing to compare."
            )
    weights = [layer.cosine for layer in layers if v[layer.name].ndim > 1]
    return ChangeSimilarity(
        cosine=product / math.sqrt(square_v * square_s),
        median=float(np.median(weights or [layer.cosine for layer in layers] or [0.0])),
        layers=tuple(layers),
        left_out=tuple(left_out),
    )


@dataclass(frozen=True)
class NearestAncestor:
    """What `nearest_ancestor` found.

    Attributes:
        name: the candidate that the network is nearest to; None if it shares an origin with none.
        log10_p: of the origin test with it, times the number of candidates; 0 without one.
        table: a row per candidate, the nearest first: ``ancestor``, ``similarity`` (the median over
            weights of the cosine with the network's), ``log10_p`` of the origin test, ``note``.
    """

    name: str | None
    log10_p: float
    table: tuple[Mapping[str, str | float], ...]

    def __str__(self) -> str:
        if self.name is None:
            return f"shares an origin with none of {len(self.table)} candidates"
        return f"nearest to {self.name}, log10 p = {self.log10_p:.4g} under independent origins"


def nearest_ancestor(
    model: Model,
    candidates: Mapping[str, Model],
    *,
    example: Tensor | None = None,
    level: float = 1e-3,
) -> NearestAncestor:
    """Returns which of several networks a network most likely descends from.

    The candidates that share an origin with it, by `origin_test` at `level` with Bonferroni's
    correction, are put in order by how alike the weights are: an ancestor's own descendants
    share its origin, too, but lie further off.

    Args:
        model: a module or a state dict.
        candidates: modules or state dicts by name; those of other architectures come last.
        example: see `origin_test`.
        level: greatest p-value that is taken for a common origin.

    Raises:
        ValueError: without candidates.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> def network(seed):
        ...     _ = torch.manual_seed(seed)
        ...     return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
        >>> child = network(7)
        >>> with torch.no_grad():
        ...     child[0].weight += 0.05 * torch.randn(32, 20)
        >>> nearest_ancestor(child, {"six": network(6), "seven": network(7)}).name
        'seven'
    """
    if not candidates:
        raise ValueError("candidates must name at least one network, got none.")
    tensors = tensors_of(model)
    rows: list[dict[str, str | float]] = []
    for name, candidate in candidates.items():
        row: dict[str, str | float] = {"ancestor": name, "similarity": 0.0, "log10_p": 0.0}
        try:
            test = origin_test(candidate, model, example=example)
            row |= {"similarity": _likeness(tensors, tensors_of(candidate)), "note": str(test)}
            row["log10_p"] = test.log10_p
        except ValueError as error:
            row["note"] = f"not comparable: {error}"
        rows.append(row)
    threshold = math.log10(level / len(rows))
    rows.sort(key=lambda row: (float(row["log10_p"]) > threshold, -float(row["similarity"])))
    best = float(rows[0]["log10_p"])
    found = best <= threshold
    return NearestAncestor(
        name=str(rows[0]["ancestor"]) if found else None,
        log10_p=min(0.0, best + math.log10(len(rows))) if found else 0.0,
        table=tuple(rows),
    )


def _likeness(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    cosines: list[float] = []
    for name_a, name_b in corresponding(a, b)[0]:
        x, y = a[name_a], b[name_b]
        if x.ndim > 1 and x.shape == y.shape:
            size = float(x.norm() * y.norm())
            cosines.append(float((x * y).sum()) / size if size else 0.0)
    return float(np.median(cosines)) if cosines else 0.0
