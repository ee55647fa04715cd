"""Stage 5: draws heat maps, trees coloured by group and agreement, and puts all on one page."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.run_report import write_run_report
from modelgif.reporting.figure import heat_map, save_figure, similarity_tree
from modelgif.reporting.report import Section
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.evaluate import all_tables
from task_relatedness.statistics.groups import affinity_distance, tree_kind
from task_relatedness.statistics.measure import PUBLISHED, ROOMS
from task_relatedness.tables.matrix_files import AFFINITIES, DISTANCES, read_matrices
from task_relatedness.tables.paper_and_ours import like_main, main_method, variants_of_main
from task_relatedness.tables.record_views import (
    READING_TITLES,
    SORTED_BY,
    by_reading,
    ordered,
    title,
)
from task_relatedness.tables.tables import zoo_table
from task_relatedness.tasks import TASKS

# Of truths, told apart by the colour-blind (Okabe and Ito).
_COLOURS = {ROOMS: "#D55E00", PUBLISHED: "#0072B2"}
_LABELS = {ROOMS: "transfers measured in rooms", PUBLISHED: "Taskonomy's published affinities"}
_FAINT = "#BBBBBB"


def plot(run: Run[TaskRelatednessConfig]) -> None:
    """Draws every figure from the files of the evaluation, and writes ``report.html``."""
    config, records = run.config, read_records(run.folder / "records.csv")
    figures = _matrix_figures(run)
    truths = list(read_matrices(run.folder, AFFINITIES, config.tasks))
    figures["agreement"] = agreement_figure(like_main(config, records), truths)
    figures["variants"] = agreement_figure(variants_of_main(config, records), truths)
    for name, figure in figures.items():
        save_figure(figure, run.folder / "figures" / f"{name}.png")

    tables, main = all_tables(config, records), title(main_method(config))
    sections = []
    if config.rooms is not None:
        zoo = zoo_table(pd.read_csv(run.folder / "zoo" / "roster.csv"))
        sections.append(Section("What the networks learnt", table=zoo))
    sections.append(
        Section(
            "Agreement by method",
            figure=figures["agreement"],
            caption="Spearman's correlation of nearness and affinity; bars are 95 % intervals for "
            "other tasks",
        )
    )
    sections.append(
        Section(
            "ModelGiF at all references, targets and baselines",
            figure=figures["variants"],
            caption="The same of the variants of ModelGiF",
        )
    )
    sections += [Section(name, table=table) for name, table in tables.items()]
    captions = {
        "heat_map": f"Distances, {main}",
        "tree": f"Tasks that join further right are more alike, {main}",
        "transfer_heat_map": "Affinities measured in rooms",
        "transfer_tree": "Tree of the affinities measured in rooms",
    }
    sections += [
        Section(caption, figure=figures[name], caption=caption)
        for name, caption in captions.items()
        if name in figures
    ]
    write_run_report(
        run,
        question="Which tasks are related?",
        answer=_answer(config, records, truths[0]),
        sections=sections,
    )


def agreement_figure(records: pd.DataFrame, truths: list[str]) -> Figure:
    """Returns one panel a reading: a dot a method and truth, and its interval for other tasks.

    Methods are in the order of the first truth's table, the best on top.

    Args:
        records: ``records.csv``.
        truths: names, one or two.
    """
    names = list(dict.fromkeys(name for truth in truths for name in ordered(records, truth)))
    figure = Figure(figsize=(13, 0.3 * len(names) + 1.6), layout="constrained")
    panels = figure.subplots(1, len(READING_TITLES), sharex=True, sharey=True)
    for axes, (reading, heading) in zip(panels, READING_TITLES.items(), strict=True):
        axes.set_title(heading, fontsize=10)
        axes.axvline(0, color=_FAINT, linewidth=0.8)
        axes.spines[["left", "top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#EEEEEE")
        for number, truth in enumerate(truths):
            value = by_reading(records, truth, "value")
            low, high = (by_reading(records, truth, end) for end in ("low", "high"))
            at = [row for row, name in enumerate(names) if (name, reading) in value]
            keys = [(names[row], reading) for row in at]
            middle = np.array([value[key] for key in keys])
            ends = np.array([[of.get(key, value[key]) for key in keys] for of in (low, high)])
            # Side by side within a method's row.
            heights = np.array(at) + 0.3 * (number - (len(truths) - 1) / 2)
            colour = _COLOURS[truth]
            axes.hlines(heights, *ends, color=colour, alpha=0.5, linewidth=1.5)
            axes.scatter(middle, heights, s=18, color=colour, zorder=3, label=_LABELS[truth])
    panels[0].set_yticks(range(len(names)), [title(name) for name in names], fontsize=8)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    figure.supxlabel("Spearman's correlation of nearness and affinity", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    place = {"loc": "outside upper center", "ncols": len(truths), "frameon": False}
    figure.legend(handles, labels, fontsize=9, **place)
    return figure


def _matrix_figures(run: Run[TaskRelatednessConfig]) -> dict[str, Figure]:
    """Heat map and tree of the main method and, where there are rooms, of their affinities."""
    tasks = [task for task in TASKS if task.name in run.config.tasks]
    names, groups = [task.display for task in tasks], [task.group for task in tasks]
    distances = read_matrices(run.folder, DISTANCES, run.config.tasks)[main_method(run.config)]
    figures = {
        "heat_map": heat_map(distances, names, groups=groups),
        "tree": similarity_tree(distances, names, groups=groups, kind=tree_kind(distances)),
    }
    affinity = read_matrices(run.folder, AFFINITIES, run.config.tasks).get(ROOMS)
    if affinity is not None:
        apart, label = affinity_distance(affinity), "log₁₀ affinity, source (row) for target"
        figures |= {
            "transfer_heat_map": heat_map(np.log10(affinity), names, groups=groups, quantity=label),
            "transfer_tree": similarity_tree(apart, names, groups=groups, kind=tree_kind(apart)),
        }
    return figures


def _answer(config: TaskRelatednessConfig, records: pd.DataFrame, truth: str) -> str:
    """How the main method orders sources, and what does so best."""
    value = by_reading(records, truth, "value")
    main, first = main_method(config), ordered(records, truth)[:1]
    if (main, SORTED_BY) not in value:
        return "The distances order no target's sources."
    best = first[0]
    return (
        f"By {title(main)}, nearness orders the sources of a target as transfer does with a "
        f"Spearman's correlation of {value[main, SORTED_BY]:.2f} ({_LABELS[truth]}). "
        + (
            "No other method does better."
            if best == main
            else f"{title(best)} does best, with {value[best, SORTED_BY]:.2f}."
        )
    )


def files(run: Run[TaskRelatednessConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / "report.html"]


if __name__ == "__main__":
    run_stage(plot, TaskRelatednessConfig, testbed="task_relatedness")
