"""Puts a finished run's tables and pictures where the READMEs show them.

Run after the stages: ``python -m model_selection.publish model_selection/configs/small.yaml``.
"""

import shutil
from pathlib import Path

import pandas as pd

from model_selection.comparisons import gain_table, paper_table
from model_selection.config import ModelSelectionConfig
from model_selection.evaluate import kinds, read_accuracy
from model_selection.tables import (
    accuracy_table,
    choice_table,
    grid_table,
    note_table,
    seed_table,
    tau_table,
)
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, conditions_line, run_stage
from modelgif.reporting.table import replace_section, to_markdown

HERE = Path(__file__).parent
# With what a reader who cannot see them is told.
PICTURES = {
    "orders": "Weighted Kendall's τ of every score: tasks, mean and interval",
    "tau_map": "Weighted Kendall's τ by score and task",
    "against_accuracy": "The best scores and the static ranking against fine-tuned accuracy",
}
KEPT = (
    *("records.csv", "run.json", "config.yaml", "zoo/roster.csv"),
    *("finetune/accuracy.csv", "scores.csv"),
)


def publish(run: Run[ModelSelectionConfig]) -> None:
    """Copies records and pictures, and fills the tables of the README.

    Records are kept by seed. The tables of gains and of seeds hold all of them, every other table
    this run alone.
    """
    seeds = HERE / "results" / run.name
    results = seeds / f"seed{run.config.seed}"
    results.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(run.folder / name, results / Path(name).name)
    readme = HERE / "README.md"
    for picture, text in PICTURES.items():
        drawn = run.folder / "figures" / f"{picture}.png"
        shutil.copyfile(drawn, HERE.parent / "assets" / f"selection_{picture}.png")
        shown = f"![{text}](../assets/selection_{picture}.png)"
        replace_section(readme, f"picture_{picture}", shown)
    records = read_records(results / "records.csv")
    every = [read_records(folder / "records.csv") for folder in sorted(seeds.glob("seed*"))]
    replace_section(readme, "conditions", conditions_line(run))
    tables = {
        "accuracy": accuracy_table(read_accuracy(run), kinds(run)),
        "orders": tau_table(records),
        "choices": choice_table(records),
        "gains": gain_table(every),
        "seeds": seed_table(every),
        "papers": paper_table(records),
        "settings": grid_table(records),
        "notes": note_table(pd.read_csv(results / "scores.csv")),
    }
    for name, table in tables.items():
        replace_section(readme, name, to_markdown(table, digits=3))


if __name__ == "__main__":
    run_stage(publish, ModelSelectionConfig, testbed="model_selection", makes_results=False)
