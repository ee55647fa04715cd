"""Figures of model distances, each a `matplotlib.figure.Figure` that owes nothing to pyplot."""

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import IO, Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import auc, roc_curve

from modelgif.storage.atomic import whole_file

# Okabe and Ito's colours for the colour-blind without yellow, which cannot be read as text on
# white, and with wine, olive and grey; the palest come last.
_DARK = ("#0072B2", "#D55E00", "#009E73", "#882255", "#000000", "#999933", "#777777")
_PALETTE = (*_DARK, "#CC79A7", "#E69F00", "#56B4E9")
_INK = "#404040"
_FONT, _SMALLEST_FONT = 9.0, 4.5  # points, 72 an inch
_COSINE = "distance 1 − cos"

Names = Sequence[str]
Kind = Literal["average", "published"]


def heat_map(
    distances: ArrayLike, labels: Names, *, groups: Names | None = None, quantity: str = _COSINE
) -> Figure:
    """Returns the picture of a distance matrix `[M, M]`, one cell per pair of models.

    With `groups`, one name per model, the models of a group are put side by side, the groups in the
    order in which they first appear; lines part them and colours mark the labels. The scale spans
    the distances between different models; a diagonal below it is grey. Where labels would be too
    small to read, the groups' names stand in their place.

    Raises:
        ValueError: when `distances` is not square, finite and of two models or more, `labels` or
            `groups` do not fit it, or there are more groups than colours.
    """
    matrix, colours, inks = _check(distances, labels, groups)
    n_models, hues = len(matrix), list(colours.values())
    order = sorted(range(n_models), key=lambda model: hues.index(inks[model]))
    inks = [inks[model] for model in order]
    edges = [row for row in range(1, n_models) if inks[row] != inks[row - 1]]

    side = float(np.clip(0.26 * n_models, 2.6, 9.0))
    figure = Figure(figsize=(side + 2.4, side + 1.8), layout="constrained")
    axes = figure.add_subplot()
    apart = matrix[~np.eye(n_models, dtype=bool)]
    cells = matrix[np.ix_(order, order)]
    scale = colormaps["viridis"].with_extremes(under="#D9D9D9")
    image = axes.imshow(cells, scale, vmin=apart.min(), vmax=apart.max(), interpolation="nearest")
    extend = "min" if matrix.min() < apart.min() else "neither"
    figure.colorbar(image, ax=axes, label=quantity, extend=extend, shrink=0.8)

    font = min(_FONT, 0.8 * 72 * side / n_models)
    positions, names = list(range(n_models)), [labels[model] for model in order]
    if font < _SMALLEST_FONT:
        blocks = pairwise([0, *edges, n_models])
        positions = [(start + stop - 1) / 2 for start, stop in blocks]
        names, inks, font = list(colours), hues, _FONT
    elif groups is not None:
        _add_legend(figure, colours)
    _set_ticks(axes.xaxis, positions, names, inks, fontsize=font, rotation=90)
    _set_ticks(axes.yaxis, positions, names, inks, fontsize=font)
    for edge in edges:
        axes.axhline(edge - 0.5, color="white", linewidth=1.5)
        axes.axvline(edge - 0.5, color="white", linewidth=1.5)
    axes.spines[:].set_visible(False)
    return figure


def similarity_tree(
    distances: ArrayLike, labels: Names, *, groups: Names | None = None, kind: Kind = "average"
) -> Figure:
    """Returns the clustering tree of a symmetric distance matrix `[M, M]`, leaves from top down.

    `average` joins clusters at the mean distance between their members and holds for every
    distance; `published` draws `ward_linkage`. `groups` colour the leaves' labels.

    Raises:
        ValueError: as `heat_map`, and when `distances` is not symmetric, `kind` is neither, or it
            is `published` and a distance is 1 or more.
    """
    matrix, colours, inks = _check(distances, labels, groups)
    if (gap := np.abs(matrix - matrix.T).max()) > 1e-6:
        raise ValueError(f"`distances` must be symmetric, got mirror entries {gap:.3g} apart.")
    if kind == "published":
        links = ward_linkage(matrix)
        title = "Ward distance between rows of log(1 − D)"
    elif kind == "average":
        links = linkage(squareform(matrix, checks=False), "average", optimal_ordering=True)
        title = "mean distance between the clusters joined"
    else:
        raise ValueError(f"`kind` must be 'average' or 'published', got {kind!r}.")
    tree = dendrogram(links, no_plot=True)

    n_models = len(matrix)
    height = float(np.clip(0.22 * n_models, 1.2, 14.0))
    figure = Figure(figsize=(6.5, height + 1.0), layout="constrained")
    # scipy puts leaf k at 10 k + 5.
    limits = {"xlim": (1.03 * (links[-1, 2] or 1), 0), "ylim": (10 * n_models, 0)}
    axes = figure.add_subplot(xlabel=title, **limits)
    joints = np.stack([tree["dcoord"], tree["icoord"]], axis=-1)
    axes.add_collection(LineCollection(list(joints), colors=_INK))
    names, inks = zip(*((labels[model], inks[model]) for model in tree["leaves"]), strict=True)
    axes.yaxis.tick_right()
    font = min(_FONT, 0.8 * 72 * height / n_models)
    _set_ticks(axes.yaxis, range(5, 10 * n_models, 10), names, inks, fontsize=font)
    axes.spines[["left", "top", "right"]].set_visible(False)
    if groups is not None:
        _add_legend(figure, colours)
    return figure


def ward_linkage(distances: ArrayLike) -> np.ndarray:
    """Returns the Ward linkage `[M - 1, 4]` of the rows of log(1 − D), leaves in optimal order.

    This is the recipe of ModelGiF's published similarity tree of the Taskonomy networks: a model's
    features are its log similarities to every model.

    Raises:
        ValueError: when a distance is 1 or more, where the logarithm does not exist.
    """
    matrix = np.asarray(distances, dtype=np.float64)
    if (top := matrix.max()) >= 1:
        raise ValueError(f"log(1 − D) needs distances below 1, got {top:.6g}; use kind='average'.")
    return linkage(np.log(1 - matrix), "ward", metric="euclidean", optimal_ordering=True)


def roc(curves: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Returns the ROC curves of pairs (positives, negatives) of distances, keyed by method.

    A smaller distance speaks for a positive, a derived model. The legend gives each area under
    the curve with the numbers of positives and negatives.

    Raises:
        ValueError: when there is no curve, or one lacks positives or negatives or has a distance
            that is not finite.
    """
    if not curves:
        raise ValueError("`curves` must hold at least one method, got none.")
    figure = Figure(figsize=(4.6, 4.4 + 0.2 * len(curves)), layout="constrained")
    axes = figure.add_subplot(aspect="equal", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.axline((0, 0), slope=1, color="#BBBBBB", linewidth=0.8)
    axes.set_prop_cycle(color=_PALETTE * 2, linestyle=["-"] * 10 + ["--"] * 10)
    for name, (positives, negatives) in curves.items():
        near = _values(f"positives of {name!r}", positives)
        far = _values(f"negatives of {name!r}", negatives)
        truth, score = np.repeat([1, 0], [len(near), len(far)]), -np.concatenate([near, far])
        # Lines between the thresholds are steps, save where a positive and a negative tie: there
        # the area under the slope counts the tie as one half, as the AUC does.
        fpr, tpr, _ = roc_curve(truth, score)
        label = f"{name}: AUC {auc(fpr, tpr):.3f} ({len(near)} positives, {len(far)} negatives)"
        axes.plot(fpr, tpr, linewidth=1.8, label=label)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    return figure


def distributions(
    distances_by_group: Mapping[str, ArrayLike],
    *,
    threshold: float | None = None,
    quantity: str = f"{_COSINE} to the victim",
) -> Figure:
    """Returns one strip a group, from top down: a dot a model, and the group's median as a bar.

    `threshold` marks the distance below which a model is called derived. A dot's height within
    its strip means nothing: it keeps dots apart.

    Raises:
        ValueError: when there is no group, or one has no distance or one that is not finite.
    """
    if not (n_groups := len(distances_by_group)):
        raise ValueError("`distances_by_group` must hold at least one group, got none.")
    figure = Figure(figsize=(6.5, 0.42 * n_groups + 0.9), layout="constrained")
    axes = figure.add_subplot(xlabel=quantity, ylim=(n_groups - 0.4, -0.6))
    names = []
    for row, (group, distances) in enumerate(distances_by_group.items()):
        values = np.sort(_values(f"distances of {group!r}", distances))
        # Multiples of the golden ratio modulo 1 keep neighbours apart, the same in every run.
        heights = row + 0.5 * (0.618034 * np.arange(len(values)) % 1 - 0.5)
        colour = _PALETTE[row % len(_PALETTE)]
        axes.scatter(values, heights, s=16, color=colour, alpha=0.75, linewidths=0)
        axes.vlines(np.median(values), row - 0.36, row + 0.36, color=colour, linewidth=2)
        names.append(f"{group} (n = {len(values)})")
    if threshold is not None:
        axes.axvline(threshold, color=_INK, linewidth=1, linestyle="--")
        axes.text(threshold, -0.6, f" threshold {threshold:.3g}", fontsize=8, color=_INK, va="top")
    _set_ticks(axes.yaxis, range(n_groups), names, [_INK] * n_groups, fontsize=_FONT)
    axes.spines[["left", "top", "right"]].set_visible(False)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes `figure` to `path` as a PNG of 150 dots an inch, equal figures as equal bytes."""
    with whole_file(path) as part:
        render_figure(figure, part)


def render_figure(figure: Figure, file: str | os.PathLike[str] | IO[bytes]) -> None:
    """Writes `figure` as `save_figure` does, to an open file or to a path directly."""
    metadata = {"Software": None}  # matplotlib would write its version
    figure.savefig(file, format="png", dpi=150, facecolor="white", metadata=metadata)


def _check(
    distances: ArrayLike, labels: Names, groups: Names | None
) -> tuple[np.ndarray, dict[str, str], list[str]]:
    # The matrix, each group's colour, and each model's.
    matrix, n_models = np.asarray(distances, dtype=np.float64), len(labels)
    if n_models < 2 or matrix.shape != (n_models, n_models):
        raise ValueError(f"{n_models} labels need distances [M, M], M > 1; got {matrix.shape}.")
    if len(broken := np.argwhere(~np.isfinite(matrix))):
        pair = " and ".join(repr(labels[model]) for model in broken[0])
        raise ValueError(f"`distances` must be finite, got {matrix[*broken[0]]} between {pair}.")
    members = [f"{n_models} models"] * n_models if groups is None else groups
    names = list(dict.fromkeys(members))
    if len(members) != n_models or len(names) > len(_PALETTE):
        raise ValueError(
            f"`groups` must have {n_models} entries and at most {len(_PALETTE)} names, got "
            f"{len(members)} and {len(names)}."
        )
    colours = dict(zip(names, [_INK] if groups is None else _PALETTE, strict=False))
    return matrix, colours, [colours[member] for member in members]


def _values(owner: str, distances: ArrayLike) -> np.ndarray:
    values = np.asarray(distances, dtype=np.float64).ravel()
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"The {owner} must be at least one finite number, got {values}.")
    return values


def _set_ticks(axis: Axis, at: Sequence[float], names: Names, inks: Names, **text: Any) -> None:
    axis.set_ticks(at, names, **text)
    axis.set_tick_params(length=0)
    for label, ink in zip(axis.get_ticklabels(), inks, strict=True):
        label.set_color(ink)


def _add_legend(figure: Figure, colours: Mapping[str, str]) -> None:
    keys = [Patch(color=colour, label=name) for name, colour in colours.items()]
    place = {"loc": "outside upper center", "ncols": int(figure.get_figwidth() // 2)}
    figure.legend(handles=keys, fontsize=_FONT, handlelength=1, frameon=False, **place)
