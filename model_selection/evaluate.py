"""Stage 5: how well each score orders the models on each task, and how surely."""

from pathlib import Path

import pandas as pd

from model_selection.comparisons import gain_table, paper_table
from model_selection.config import ModelSelectionConfig
from model_selection.measure import STATIC, score_measurements
from model_selection.sheets import (
    by_score,
    cost_measurements,
    grid_measurements,
    half_measurements,
)
from model_selection.static_ranking import static_ranking
from model_selection.tables import (
    accuracy_table,
    choice_table,
    grid_table,
    note_table,
    tau_table,
)
from model_selection.tasks import task_names
from model_selection.zoo import roster
from modelgif.experiment.record import read_records, write_records
from modelgif.experiment.run import Run, run_stage, to_records
from modelgif.experiment.sealed_csv import read_sealed_csv
from modelgif.experiment.seeding import derive_seed
from modelgif.reporting.table import to_markdown, write_workbook


def evaluate(run: Run[ModelSelectionConfig]) -> None:
    """Writes ``records.csv`` and ``results.xlsx``, and prints the tables."""
    accuracy = read_accuracy(run)
    sheet = pd.read_csv(run.folder / "scores.csv")
    scores = by_score(sheet, accuracy) | {STATIC: static_ranking(accuracy)}
    seed = derive_seed(run.config.seed, "evaluate")
    found = score_measurements(scores, accuracy, run.config.evaluation, seed=seed)
    halves, grid = (pd.read_csv(run.folder / f"{name}.csv") for name in ("halves", "grid"))
    for more in (
        half_measurements(halves, accuracy),
        grid_measurements(grid, accuracy),
        cost_measurements(sheet),
    ):
        for name, measurements in more.items():
            found.setdefault(name, []).extend(measurements)
    path = run.folder / "records.csv"
    write_records(path, to_records(run, found))

    records = read_records(path)
    zoo = read_sealed_csv(run.folder / "zoo" / "roster.csv")
    tables = {
        "accuracy": accuracy_table(accuracy, kinds(run)),
        "orders": tau_table(records),
        "choices": choice_table(records),
        "gains": gain_table([records]),
        "papers": paper_table(records),
        "settings of PED": grid_table(records),
        "notes": note_table(sheet),
    }
    conditions = pd.json_normalize(run.conditions()).T.reset_index(names="condition")
    sheets = tables | {"scores": sheet, "roster": zoo, "records": records}
    sheets |= {"conditions": conditions.astype(str)}
    write_workbook(run.folder / "results.xlsx", sheets)
    print(*(to_markdown(table, digits=3) for table in tables.values()), sep="\n")


def read_accuracy(run: Run[ModelSelectionConfig]) -> pd.DataFrame:
    """Returns the test accuracies after fine-tuning with the chosen settings, ``[M, T]``.

    Raises:
        ValueError: when a model has no chosen accuracy on a task, or several.
    """
    rows = pd.read_csv(run.folder / "finetune" / "accuracy.csv")
    chosen = pd.DataFrame(rows[rows["chosen"].astype(bool)]).set_index(["model", "task"])
    known = chosen.index.value_counts().to_dict()
    for member in roster(run.config):
        for task in task_names(run.config):
            count = known.get((member.name, task), 0)
            if count != 1:
                raise ValueError(
                    f"finetune/accuracy.csv must choose one setting for {member.name} on {task}, "
                    f"got {count}: run the stage finetune again."
                )
    names = [member.name for member in roster(run.config)]
    accuracy = chosen["test_accuracy"].unstack("task")
    return accuracy.loc[names, list(task_names(run.config))].rename_axis(columns=None)


def kinds(run: Run[ModelSelectionConfig]) -> pd.DataFrame:
    """Returns architecture and pretraining, one row per model."""
    members = roster(run.config)
    return pd.DataFrame(
        {
            "architecture": [member.architecture for member in members],
            "pretraining": [member.pretraining for member in members],
        },
        index=pd.Index([member.name for member in members]),
    )


def files(run: Run[ModelSelectionConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / name for name in ("records.csv", "results.xlsx")]


if __name__ == "__main__":
    run_stage(evaluate, ModelSelectionConfig, testbed="model_selection")
