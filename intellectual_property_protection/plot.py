"""Stage 4: draws the figures, and puts them and the tables on one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.member import Member
from intellectual_property_protection.score_name import main_score
from intellectual_property_protection.scoring.roles import Roles
from intellectual_property_protection.tables.tables import all_tables, by_subject, curve_table
from intellectual_property_protection.zoo import roster
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.run_report import write_run_report
from modelgif.experiment.sealed_csv import read_sealed_csv
from modelgif.reporting.figure import (
    distributions,
    heat_map,
    roc,
    save_figure,
    similarity_tree,
)
from modelgif.reporting.report import Section

# What the page shows beside each figure: its heading, and the caption.
_SHOWN = {
    "distances": ("By attack and architecture", "Distance of gradient fields to the victim"),
    "similarity_tree": (
        "How alike all models are",
        "Models that join further right are more alike",
    ),
    "heat_map": ("All distances", "Distance of gradient fields, every pair"),
    "roc": ("Derived and honest models apart", "ROC of the distance, pooled architectures"),
    "curve": ("How many references it takes", "AUC within architectures, by number of references"),
}


def plot(run: Run[IPPConfig]) -> None:
    """Draws every figure from the files of the evaluation, and writes ``report.html``."""
    records = read_records(run.folder / "records.csv")
    figures = _figures(run, records)
    for name, figure in figures.items():
        save_figure(figure, run.folder / "figures" / f"{name}.png")
    tables = all_tables(run.config, read_sealed_csv(run.folder / "zoo" / "roster.csv"), records)
    sections = [
        Section(
            "Verdicts",
            "On each suspect by itself; Holm's p-value is for all of them.",
            table=_verdict_first(tables["suspects"]),
        ),
        Section("Attacks", table=tables["attacks"], digits=2),
        Section("Honest models that would be accused", table=tables["honest"]),
        *(
            Section(title, figure=figures[name], caption=caption)
            for name, (title, caption) in _SHOWN.items()
        ),
        Section("Every score", "AUC within architectures.", table=tables["methods"], digits=2),
    ]
    write_run_report(
        run,
        question="Which suspects were made from the victim?",
        answer=_answer(tables["suspects"]),
        sections=sections,
    )


def _verdict_first(suspects: pd.DataFrame) -> pd.DataFrame:
    """The table with what matters most where no small screen cuts it off."""
    first = ["suspect", "verdict", "p-value", "field distance"]
    return suspects.reindex(columns=[*first, *(name for name in suspects if name not in first)])


def _answer(suspects: pd.DataFrame) -> str:
    honest = suspects["made by"] == "honest"
    called = suspects["verdict"] == "derived"
    return (
        f"{(called & ~honest).sum()} of {(~honest).sum()} models that were made from it are called "
        f"derived, and {(called & honest).sum()} of {honest.sum()} honest ones are."
    )


def _figures(run: Run[IPPConfig], records: pd.DataFrame) -> dict[str, Figure]:
    config = run.config
    members = roster(config)
    names, groups = [m.name for m in members], [_group(m) for m in members]
    matrix = pd.read_csv(run.folder / "distances.csv", index_col="model").loc[names, names]
    main = main_score(config.references, config.evaluation)
    distance = by_subject(records, "distance_to_victim", str(main))
    by_kind: dict[str, list[float]] = {}
    for member in sorted(members[1:], key=lambda m: (m.short_architecture, m.is_derived)):
        kind = f"{_label(member)}, {member.short_architecture}"
        by_kind.setdefault(kind, []).append(distance[member.name])
    lines = {
        (row.pop("attack"), _words(score)): pd.Series(row)
        for row in curve_table(records).to_dict("records")
        if (score := str(row.pop("score"))).split("/")[0] == str(main)
    }
    return {
        "heat_map": heat_map(matrix, names, groups=groups),
        "similarity_tree": similarity_tree(matrix, names, groups=groups),
        "distances": distributions(by_kind),
        "roc": roc(_sides(members, distance)),
        "curve": curve_figure(lines),
    }


def _sides(
    members: Sequence[Member], distance: Mapping[str, float]
) -> dict[str, tuple[list[float], list[float]]]:
    """Distances of each attack's models, and of the honest ones that they are separated from."""
    roles = Roles(members[0], tuple(members[1:]), np.full(len(members) - 1, -1))
    sides = {}
    for attack, models in roles.attacks.items():
        alike = np.flatnonzero(roles.alike(models, roles.honest, "pooled").any(0))
        far = [roles.honest[row] for row in alike]
        if far:
            sides[attack] = (
                [distance[roles.names[i]] for i in models],
                [distance[roles.names[i]] for i in far],
            )
    return sides


def curve_figure(lines: Mapping[tuple[str, str], pd.Series]) -> Figure:
    """Returns one panel per attack, with a curve per choice of references over their number.

    Args:
        lines: AUC by number of references, by attack and choice; numbers are the index, as text.
    """
    attacks = list(dict.fromkeys(attack for attack, _ in lines))
    choices = list(dict.fromkeys(choice for _, choice in lines))
    n_columns = min(4, len(attacks))
    n_rows = -(-len(attacks) // n_columns)
    figure = Figure(figsize=(3.1 * n_columns, 2.5 * n_rows + 0.6), layout="constrained")
    colours = dict(zip(choices, ("#0072B2", "#D55E00", "#009E73", "#882255"), strict=False))
    handles = {}
    for position, attack in enumerate(attacks):
        axes = figure.add_subplot(n_rows, n_columns, position + 1)
        axes.set_title(attack.replace("_", " "), fontsize=10)
        for choice in choices:
            values = lines.get((attack, choice))
            if values is not None:
                known = values.dropna()
                sizes = [int(size) for size in known.index]
                (handles[choice],) = axes.plot(
                    sizes, known, marker="o", markersize=3, color=colours[choice]
                )
                axes.set_xscale("log", base=2)
                axes.xaxis.set_major_locator(FixedLocator(sizes))
                axes.xaxis.set_minor_locator(NullLocator())
                axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.axhline(0.5, color="#BBBBBB", linewidth=0.8)
        axes.set_ylim(-0.02, 1.02)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("references", fontsize=10)
    figure.supylabel("AUC, same architecture", fontsize=10)
    place = {"loc": "outside upper center", "ncols": len(handles), "frameon": False}
    figure.legend(list(handles.values()), list(handles), fontsize=9, **place)
    return figure


def _words(score: str) -> str:
    """How references are chosen, in words."""
    _, _, ranking = score.partition("/")
    return {
        "": "as drawn",
        "independents": "far from independents",
        "surrogates": "near to surrogates",
        "gap": "by gap",
    }[ranking]


def _group(member: Member) -> str:
    """What a reader of a crowded figure tells models by; honest suspects are independent models."""
    if member.role in ("victim", "surrogate"):
        return member.role
    if not member.is_derived:
        return _label(member)
    return member.made_by.family


def _label(member: Member) -> str:
    """What a reader tells models by where there is room for every attack."""
    if member.role == "surrogate":
        return "surrogate"
    if member.is_derived:
        return member.attack
    if member.data == "victim":
        return "independent, victim's data"
    if member.label_set != "source":
        return f"independent, {member.label_set} labels"
    return "independent" if member.training == "standard" else "independent, adversarial"


def files(run: Run[IPPConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / "report.html"]


if __name__ == "__main__":
    run_stage(plot, IPPConfig, testbed="intellectual_property_protection")
