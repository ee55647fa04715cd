"""Puts a finished run's tables and pictures where the README shows them.

Run after the stages: ``python -m task_relatedness.publish task_relatedness/configs/small.yaml``.
"""

from pathlib import Path

import pandas as pd

from modelgif.experiment.publishing import KEPT, ROSTER, fill_page, keep_results
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, conditions_line, run_stage
from modelgif.reporting.table import to_markdown
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
FILES = (*KEPT, DISTANCES, AFFINITIES)
# The configuration whose tables have the plain names of sections; those of another one begin with
# its name: ``paper agreement, Taskonomy``.
MAIN = "small"


def publish(run: Run[TaskRelatednessConfig]) -> None:
    """Copies records, matrices and pictures, and fills the tables of the README."""
    has_rooms = run.config.rooms is not None
    pictures = {
        picture: text
        for picture, text in PICTURES.items()
        if has_rooms or not picture.startswith("transfer")
    }
    copies = {picture: f"tasks_{run.name}_{picture}" for picture in pictures}
    results = keep_results(run, HERE, (*FILES, ROSTER) if has_rooms else FILES, copies)
    links = [f"![{text}](../assets/{copies[name]}.png)\n" for name, text in pictures.items()]
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
    fill_page(HERE / "README.md", sections, partly=True)


if __name__ == "__main__":
    run_stage(publish, TaskRelatednessConfig, testbed="task_relatedness", makes_results=False)
