"""Stage 4: draws distances, accuracy and membership over epochs, and puts all on one page."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from model_unlearning.config import UnlearningConfig
from model_unlearning.extract_fields import IMAGE_SETS
from model_unlearning.measure import TO_ORIGINAL, TO_RETRAINED, by_checkpoint, half_width
from model_unlearning.tables import final_table, performance_table, verdict_table
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.run_report import write_run_report
from modelgif.reporting.figure import save_figure
from modelgif.reporting.report import Section

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
    """Draws distances, accuracy and membership over epochs, and writes ``report.html``."""
    records = read_records(run.folder / "records.csv")
    figures = _figures(run, records)
    for name, figure in figures.items():
        save_figure(figure, run.folder / "figures" / f"{name}.png")
    verdicts = verdict_table(records)
    band = "Means over replicates, with 95 % intervals"
    shown = {
        "distance_to_original": ("Distances to the original", final_table(records)),
        "distance_to_retrained": ("Nearer to the original, or to the retrained?", verdicts),
        "performance": ("What accuracy and membership say", performance_table(records)),
    }
    write_run_report(
        run,
        question="Has the model forgotten?",
        answer=_answer(verdicts),
        sections=[
            Section(title, table=table, figure=figures[name], caption=band)
            for name, (title, table) in shown.items()
        ],
    )


def _answer(verdicts: pd.DataFrame) -> str:
    """How many methods' models, at either image set, are nearer to which side."""
    rows = verdicts.to_dict("records")
    # The sides themselves, original and retrained, have no verdict.
    counts = Counter(row["nearer to"] for row in rows if isinstance(row.get("nearer to"), str))
    if not counts:
        return "There are too few replicates for a verdict."
    said = ", ".join(f"{side} {count} times" for side, count in counts.most_common())
    return (
        f"Of {counts.total()} verdicts on models made to forget, one per method and image "
        f"set, the nearer side is: {said}."
    )


def _figures(run: Run[UnlearningConfig], records: pd.DataFrame) -> dict[str, Figure]:
    rows, data = by_checkpoint(records), run.config.data.name
    figures = {}
    for name, quantity, label in (
        ("distance_to_original", TO_ORIGINAL, "distance to the original, 1 − cos"),
        ("distance_to_retrained", TO_RETRAINED, "distance to the retrained, 1 − cos"),
    ):
        panels = {f"{quantity}.{images}": f"{data}: {_IMAGES[images]}" for images in IMAGE_SETS}
        figures[name] = over_epochs(rows, panels, label=label)
    panels = {
        "accuracy_retained": f"{data}: accuracy on retained images",
        "accuracy_forgotten": f"{data}: accuracy on forgotten images",
        "membership_auc": f"{data}: membership inference",
    }
    figures["performance"] = over_epochs(rows, panels, label="accuracy, or AUC")
    return figures


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


def files(run: Run[UnlearningConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / "report.html"]


if __name__ == "__main__":
    run_stage(plot, UnlearningConfig, testbed="model_unlearning")
