"""Puts a finished run's tables and pictures where the READMEs show them.

Run after the stages: ``python -m model_selection.publish model_selection/configs/small.yaml``.
"""

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
from modelgif.experiment.publishing import KEPT, ROSTER, fill_page, keep_results
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, conditions_line, run_stage
from modelgif.reporting.table import to_markdown

HERE = Path(__file__).parent
# With what a reader who cannot see them is told.
PICTURES = {
    "orders": "Weighted Kendall's τ of every score: tasks, mean and interval",
    "tau_map": "Weighted Kendall's τ by score and task",
    "against_accuracy": "The best scores and the static ranking against fine-tuned accuracy",
}
FILES = (*KEPT, ROSTER, "finetune/accuracy.csv", "scores.csv")


def publish(run: Run[ModelSelectionConfig]) -> None:
    """Copies records and pictures, and fills the tables of the README.

    Records are kept by seed. The tables of gains and of seeds hold all of them, every other table
    this run alone.
    """
    copies = {picture: f"selection_{picture}" for picture in PICTURES}
    results = keep_results(run, HERE, FILES, copies, by_seed=True)
    records = read_records(results / "records.csv")
    every = [
        read_records(folder / "records.csv") for folder in sorted(results.parent.glob("seed*"))
    ]
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
    sections = {name: to_markdown(table, digits=3) for name, table in tables.items()}
    sections |= {
        f"picture_{picture}": f"![{text}](../assets/{copies[picture]}.png)"
        for picture, text in PICTURES.items()
    }
    fill_page(HERE / "README.md", sections | {"conditions": conditions_line(run)})


if __name__ == "__main__":
    run_stage(publish, ModelSelectionConfig, testbed="model_selection", makes_results=False)
