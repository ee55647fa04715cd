"""Puts a finished run's tables and pictures where the README shows them.

Run after the stages: ``python -m task_relatedness.publish task_relatedness/configs/small.yaml``.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, conditions_line, run_stage
from modelgif.reporting.table import replace_section, to_markdown
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.evaluate import all_tables
from task_relatedness.tables.matrix_files import AFFINITIES, DISTANCES
from task_relatedness.tables.tables import zoo_table

HERE = Path(__file__).parent
# What a reader hears who cannot see them.
PICTURES = {
    "agreement": "Agreement by method and reading",
    "variants": "Agreement of ModelGiF at all references, targets and baselines",
    "heat_map": "Distances of gradient fields",
    "tree": "Their tree",
    "transfer_heat_map": "Affinities measured in rooms",
    "transfer_tree": "Their tree",
}
FILES = ("records.csv", "run.json", "config.yaml", DISTANCES, AFFINITIES)
ROSTER = "zoo/roster.csv"
# The configuration whose tables have the plain names of sections; those of another one begin with
# its name: ``paper agreement, Taskonomy``.
MAIN = "small"


def publish(run: Run[TaskRelatednessConfig]) -> None:
    """Copies records, matrices and pictures, and fills the tables of the README."""
    results = HERE / "results" / run.name
    results.mkdir(parents=True, exist_ok=True)
    has_rooms = run.config.rooms is not None
    for name in (*FILES, ROSTER) if has_rooms else FILES:
        shutil.copyfile(run.folder / name, results / Path(name).name)
    links = []
    for picture, text in PICTURES.items():
        if has_rooms or not picture.startswith("transfer"):
            asset = f"assets/tasks_{run.name}_{picture}.png"
            shutil.copyfile(run.folder / "figures" / f"{picture}.png", HERE.parent / asset)
            links.append(f"![{text}](../{asset})\n")
    tables = all_tables(run.config, read_records(results / "records.csv"))
    if has_rooms:
        tables["networks"] = zoo_table(pd.read_csv(results / "roster.csv"))
    # Some networks are better than their trivial predictor in the third digit only.
    sections = {
        name: to_markdown(table, digits=3 if name == "networks" else 2)
        for name, table in tables.items()
    }
    sections |= {"conditions": conditions_line(run), "pictures": "\n".join(links)}
    if run.name != MAIN:
        sections = {f"{run.name} {name}": text for name, text in sections.items()}
    _fill(HERE / "README.md", sections)


def _fill(page: Path, sections: Mapping[str, str]) -> None:
    """Fills those of `sections` that the page has.

    Raises:
        ValueError: when it has none of them.
    """
    text = page.read_text(encoding="utf-8")
    there = [name for name in sections if f"<!-- begin {name} -->" in text]
    if not there:
        raise ValueError(f"{page} has no section for {', '.join(sections)}.")
    for name in there:
        replace_section(page, name, sections[name])


if __name__ == "__main__":
    run_stage(publish, TaskRelatednessConfig, testbed="task_relatedness", makes_results=False)
