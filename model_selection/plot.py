"""Stage 6: draws how well each score orders the models, and puts all on one page."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from model_selection.config import ModelSelectionConfig
from model_selection.evaluate import kinds, read_accuracy
from model_selection.measure import CHANCE, MEAN, PED, STATIC, TAU
from model_selection.sheets import by_score
from model_selection.static_ranking import static_ranking
from model_selection.tables import accuracy_table, choice_table, note_table, tau_table
from model_selection.view import cells, ordered, task_columns, title
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.run_report import write_run_report
from modelgif.reporting.figure import save_figure
from modelgif.reporting.report import Section

# Plain scores, those after descent, and the static ranking, told apart by the colour-blind.
_PLAIN, _MOVED, _STATIC, _FAINT = "#0072B2", "#D55E00", "#000000", "#BBBBBB"
_N_BEST = 2


def plot(run: Run[ModelSelectionConfig]) -> None:
    """Draws every figure from the files of the evaluation, and writes ``report.html``."""
    records = read_records(run.folder / "records.csv")
    accuracy, sheet = read_accuracy(run), pd.read_csv(run.folder / "scores.csv")
    scores = by_score(sheet, accuracy) | {STATIC: static_ranking(accuracy)}
    tau = cells(records, TAU)
    best = [name for name in ordered(records) if name != STATIC and (name, MEAN) in tau]
    shown = {name: scores[name] for name in (*best[:_N_BEST], STATIC)}
    figures = {
        "orders": orders(records),
        "tau_map": tau_map(records),
        "against_accuracy": against_accuracy(shown, accuracy),
    }
    for name, figure in figures.items():
        save_figure(figure, run.folder / "figures" / f"{name}.png")
    write_run_report(
        run,
        question="Which pretrained model do I fine-tune?",
        answer=f"Of the scores, {title(best[0])} orders the models best: mean weighted Kendall's τ "
        f"{tau[best[0], MEAN]:.2f}. The order of the models on the other tasks has "
        f"{tau[STATIC, MEAN]:.2f}."
        if best and (STATIC, MEAN) in tau
        else "No score orders the models of every task.",
        sections=[
            Section(
                "How well scores order the models",
                "Weighted Kendall's τ of score and accuracy after fine-tuning; the grey band holds "
                "95 % of the means that random orders give.",
                table=tau_table(records),
                figure=figures["orders"],
                caption="A dot is a task, a diamond the mean with its interval",
            ),
            Section("By task", figure=figures["tau_map"], caption="Weighted Kendall's τ"),
            Section("What choosing by a score costs", table=choice_table(records)),
            Section(
                "Scores and accuracy",
                table=accuracy_table(accuracy, kinds(run)),
                figure=figures["against_accuracy"],
                caption="A dot is a model: the best scores and the static ranking, and accuracy",
            ),
            Section("What scores warned of", table=note_table(sheet)),
        ],
    )


def orders(records: pd.DataFrame) -> Figure:
    """Returns one row per score, best first: τ of every task, and the mean with its interval.

    The band holds 95 % of the means that random orders give.

    Args:
        records: ``records.csv``.
    """
    tau, low, high = (cells(records, f"{TAU}{end}") for end in ("", "_low", "_high"))
    names = ordered(records)
    figure = Figure(figsize=(6.8, 0.3 * len(names) + 1.2), layout="constrained")
    axes = figure.add_subplot(xlabel="weighted Kendall's τ of score and accuracy")
    chance = 1.96 * cells(records, "null_spread")[CHANCE, MEAN]
    axes.axvspan(-chance, chance, color="#EEEEEE", lw=0)
    axes.axvline(0, color=_FAINT, linewidth=0.8)
    for row, name in enumerate(names):
        colour = _STATIC if name == STATIC else _MOVED if name.endswith(PED) else _PLAIN
        of_tasks = [tau[name, task] for task in task_columns(records) if (name, task) in tau]
        axes.scatter(of_tasks, [row] * len(of_tasks), s=14, color=colour, alpha=0.35, lw=0)
        if (name, MEAN) in tau:
            axes.scatter([tau[name, MEAN]], [row], s=42, color=colour, marker="D", zorder=3)
        if (name, MEAN) in low:
            axes.hlines(row, low[name, MEAN], high[name, MEAN], color=colour, linewidth=1.6)
    axes.set_yticks(range(len(names)), [title(name) for name in names], fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "top", "right"]].set_visible(False)
    return figure


def tau_map(records: pd.DataFrame) -> Figure:
    """Returns τ as a table of colours, one row per score and one column per task; grey is none.

    Args:
        records: ``records.csv``.
    """
    tau, names = cells(records, TAU), ordered(records)
    columns = [*task_columns(records), MEAN]
    grid = np.array([[tau.get((name, column), np.nan) for column in columns] for name in names])
    figure = Figure(
        figsize=(0.95 * len(columns) + 2.6, 0.3 * len(names) + 1.4), layout="constrained"
    )
    axes = figure.add_subplot()
    scale = colormaps["RdBu"].with_extremes(bad="#D9D9D9")
    image = axes.imshow(grid, scale, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axes, label="weighted Kendall's τ", shrink=0.8)
    for (row, column), value in np.ndenumerate(grid):
        if np.isfinite(value):
            ink = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
    axes.axvline(len(columns) - 1.5, color="white", linewidth=3)
    axes.set_xticks(range(len(columns)), columns, fontsize=9, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), [title(name) for name in names], fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def against_accuracy(scores: dict[str, pd.DataFrame], accuracy: pd.DataFrame) -> Figure:
    """Returns one panel a score and task: a dot a model, its score across and its accuracy up.

    Args:
        scores: by name, one row per model and one column per task.
        accuracy: after fine-tuning, one row per model and one column per task.
    """
    n_rows, n_columns = len(scores), accuracy.shape[1]
    figure = Figure(figsize=(2.1 * n_columns + 0.6, 2.0 * n_rows + 0.6), layout="constrained")
    panels = np.atleast_2d(figure.subplots(n_rows, n_columns, sharey="col", squeeze=False))
    colours = {name: colormaps["tab20"](i % 20) for i, name in enumerate(accuracy.index)}
    for row, (name, table) in enumerate(scores.items()):
        for column, task in enumerate(accuracy.columns):
            axes = panels[row, column]
            for model, colour in colours.items():
                value = table.loc[model, task]
                axes.scatter(value, accuracy.loc[model, task], s=22, color=colour, lw=0)
            axes.tick_params(labelsize=7)
            axes.spines[["top", "right"]].set_visible(False)
            if row == 0:
                axes.set_title(str(task), fontsize=9)
            axes.set_xlabel(title(name), fontsize=8)
            if column == 0:
                axes.set_ylabel("accuracy", fontsize=8)
    keys = [
        axes.scatter([], [], s=22, color=colour, lw=0, label=str(model))
        for axes in [panels[0, 0]]
        for model, colour in colours.items()
    ]
    place = {"loc": "outside lower center", "ncols": min(len(keys), 4), "frameon": False}
    figure.legend(handles=keys, fontsize=8, **place)
    return figure


def files(run: Run[ModelSelectionConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / "report.html"]


if __name__ == "__main__":
    run_stage(plot, ModelSelectionConfig, testbed="model_selection")
