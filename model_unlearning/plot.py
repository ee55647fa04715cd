"""Stage 4: draws distances, accuracy and membership over epochs."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model_unlearning.config import UnlearningConfig
from model_unlearning.extract_fields import IMAGE_SETS
from model_unlearning.measure import TO_ORIGINAL, TO_RETRAINED, by_checkpoint, half_width
from modelgif.experiment.figure import save_figure
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, run_stage

# One colour a kind in every panel, told apart by the colour-blind (Okabe and Ito).
COLOURS = {
    "direct": "#D55E00",
    "unrelated": "#777777",
    "approximate": "#0072B2",
    "finetune": "#009E73",
    "gradient_ascent": "#882255",
    "salun": "#E69F00",
    "reference": "#000000",
}
_IMAGES = {"forgotten": "forgotten training images", "held_out": "held-out images like them"}


def plot(run: Run[UnlearningConfig]) -> None:
    """Draws the paper's figure, the comparison with retraining, and what others look at."""
    rows = by_checkpoint(read_records(run.folder / "records.csv"))
    data = run.config.data.name
    figures = run.folder / "figures"
    for name, quantity, label in (
        ("distance_to_original", TO_ORIGINAL, "distance to the original, 1 − cos"),
        ("distance_to_retrained", TO_RETRAINED, "distance to the retrained, 1 − cos"),
    ):
        panels = {f"{quantity}.{images}": f"{data}: {_IMAGES[images]}" for images in IMAGE_SETS}
        save_figure(over_epochs(rows, panels, label=label), figures / f"{name}.png")
    panels = {
        "accuracy_retained": f"{data}: accuracy on retained images",
        "accuracy_forgotten": f"{data}: accuracy on forgotten images",
        "membership_auc": f"{data}: membership inference",
    }
    performance = over_epochs(rows, panels, label="accuracy, or AUC")
    save_figure(performance, figures / "performance.png")


def over_epochs(rows: pd.DataFrame, panels: Mapping[str, str], *, label: str) -> Figure:
    """Returns one panel a quantity: a curve a kind of model over its epochs, and a band.

    The curve is the mean over replicates, the band its 95 % interval. A quantity that was measured
    at the last epoch only is a line across.

    Args:
        rows: from `by_checkpoint`.
        panels: titles by quantity.
        label: of the vertical axis.
    """
    figure = Figure(figsize=(4.4 * len(panels), 3.8), layout="constrained")
    handles: dict[str, Artist] = {}
    for column, (quantity, title) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), column + 1, title=title, xlabel="epoch")
        axes.title.set_fontsize(10)
        axes.spines[["top", "right"]].set_visible(False)
        if column == 0:
            axes.set_ylabel(label)
        of_quantity = rows[rows["quantity"] == quantity]
        for kind, colour in COLOURS.items():
            of_kind = of_quantity.loc[of_quantity["kind"] == kind, ["epoch", "value"]]
            if len(of_kind):
                handles[kind] = _curve(axes, pd.DataFrame(of_kind), colour)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        # Wide bands may reach beyond what can be.
        bottom, top = axes.get_ylim()
        distance = quantity.startswith("distance")
        axes.set_ylim(0 if distance else max(0, bottom), min(2 if distance else 1.02, top))
    names = [kind.replace("_", " ") for kind in handles]
    place = {"loc": "outside lower center", "ncols": len(names), "frameon": False}
    figure.legend(list(handles.values()), names, fontsize=9, **place)
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, colour: str) -> Artist:
    """Draws one kind of model; returns what its legend entry shows."""
    epochs, means, halves = [], [], []
    for epoch, of_epoch in rows.groupby("epoch"):
        values = of_epoch["value"].to_numpy(dtype=float)
        epochs.append(epoch)
        means.append(values.mean())
        halves.append(half_width(values) or 0.0)
    middle, half = np.array(means), np.array(halves)
    if len(epochs) == 1:
        axes.axhspan(middle[0] - half[0], middle[0] + half[0], color=colour, alpha=0.12, lw=0)
        return axes.axhline(middle[0], color=colour, linestyle="--", linewidth=1.5)
    axes.fill_between(epochs, middle - half, middle + half, color=colour, alpha=0.18, lw=0)
    (line,) = axes.plot(epochs, middle, color=colour, marker="o", markersize=3, linewidth=1.8)
    return line


if __name__ == "__main__":
    run_stage(plot, UnlearningConfig, testbed="model_unlearning")
