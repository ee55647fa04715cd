"""The testbed's own tables, made from the records, the accuracies and the scores."""

import re
from collections.abc import Sequence

import pandas as pd

from model_selection.measure import CHANCE, MEAN, TAU
from model_selection.view import (
    cells,
    counted,
    methods,
    ordered,
    range_text,
    task_columns,
    title,
)


def tau_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per score, best first: τ of every task, their mean, and how sure it is.

    A τ of fewer models than there are, or a mean of fewer tasks, says of how many; without an order
    there is none. The last row is what random orders give, as ± 1 standard deviation.

    Args:
        records: ``records.csv``.
    """
    tau = cells(records, TAU)
    low, high = cells(records, f"{TAU}_low"), cells(records, f"{TAU}_high")
    halves = cells(records, f"{TAU}_halves", column="spread")
    p_value = cells(records, f"{TAU}_p")
    counts = cells(records, TAU, column="n")
    chance = cells(records, "null_spread")
    n_models = int(max(cells(records, "null_spread", column="n").values()))
    tasks = task_columns(records)
    rows = []
    for name in ordered(records):
        row = {"score": title(name)}
        for task in tasks:
            row[task] = counted(tau, counts, (name, task), n_models, "models")
        mean = (name, MEAN)
        row["mean"] = counted(tau, counts, mean, len(tasks), "tasks")
        row["95 % interval, models"] = range_text(low, high, mean)
        row["± samples"] = f"{halves[mean]:.2f}" if mean in halves else ""
        row["p"] = f"{p_value[mean]:.3f}" if mean in p_value else ""
        rows.append(row)
    spread = {task: f"± {chance[CHANCE, task]:.2f}" for task in tasks if (CHANCE, task) in chance}
    rows.append({"score": title(CHANCE), **spread, "mean": f"± {chance[CHANCE, MEAN]:.2f}"})
    return pd.DataFrame(rows).fillna("")


def choice_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per score: what choosing by it gives, and what it costs, means over tasks.

    Args:
        records: ``records.csv``.
    """
    (recall,) = {str(q) for q in records["quantity"] if re.fullmatch(r"top_\d+_recall", str(q))}
    columns = {
        "mean τ": cells(records, TAU),
        "Pearson": cells(records, "pearson"),
        "top-1 regret, points": cells(records, "top_1_regret"),
        recall.replace("_", "-", 1).replace("_", " "): cells(records, recall),
        "seconds": cells(records, "seconds"),
    }
    counts = cells(records, "top_1_regret", column="n")
    n_models = max(cells(records, "null_spread", column="n").values())
    rows = []
    for name in ordered(records):
        # The fewest of any task: among few, choosing is easy.
        n = min(
            (count for (own, task), count in counts.items() if own == name and task != MEAN),
            default=0,
        )
        row: dict[str, object] = {"score": title(name), "models": f"{n:.0f} of {n_models:.0f}"}
        row |= {column: values.get((name, MEAN)) for column, values in columns.items()}
        rows.append(row)
    table = pd.DataFrame(rows)
    table["top-1 regret, points"] *= 100
    return table


def seed_table(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns the mean τ of each score by seed, and the mean over seeds, best first.

    Args:
        runs: ``records.csv`` of one configuration, one frame per seed.
    """
    by_seed = {f"seed {run['seed'].iloc[0]}": cells(run, TAU) for run in runs}
    rows = []
    for name in dict.fromkeys(name for run in runs for name in methods(run)):
        of_seeds = {seed: tau.get((name, MEAN)) for seed, tau in by_seed.items()}
        known = [value for value in of_seeds.values() if value is not None]
        mean = sum(known) / len(known) if len(known) == len(runs) else None
        rows.append({"score": title(name)} | of_seeds | {"mean": mean})
    table = pd.DataFrame(rows).astype(dict.fromkeys((*by_seed, "mean"), float))
    return table.sort_values("mean", ascending=False, ignore_index=True)


def grid_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean τ of LogME after descent, a row a reach n_σ and a column a time step dt.

    Args:
        records: ``records.csv``.
    """
    found: dict[tuple[float, float], float] = {}
    for quantity, value in zip(records["quantity"], records["value"], strict=True):
        setting = re.fullmatch(rf"{TAU}\.n_sigma=(.+)\.dt=(.+)", str(quantity))
        if setting:
            found[float(setting[1]), float(setting[2])] = value
    return pd.DataFrame(
        {"n_σ": n_sigma}
        | {f"dt = {dt:g}": found.get((n_sigma, dt)) for dt in sorted({dt for _, dt in found})}
        for n_sigma in sorted({n_sigma for n_sigma, _ in found})
    )


def accuracy_table(accuracy: pd.DataFrame, kinds: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per model, best first: what it is and its accuracies after fine-tuning.

    Args:
        accuracy: one row per model and one column per task.
        kinds: architecture and pretraining of the same models.
    """
    table = pd.concat([kinds.loc[accuracy.index], accuracy], axis=1)
    table["mean"] = accuracy.mean(axis=1)
    return table.sort_values("mean", ascending=False).rename_axis("model").reset_index()


def note_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns what scores warned of or why they are missing, and for how many models and tasks.

    Notes that differ in their numbers only are one.

    Args:
        scores: ``scores.csv``.
    """
    counts: dict[tuple[str, str, str], int] = {}
    totals = scores.groupby("score").size().to_dict()
    for name, value, note in zip(scores["score"], scores["value"], scores["note"], strict=True):
        if pd.isna(note) and pd.isna(value):
            note = "no reason was given"
        if pd.notna(note):
            said = re.sub(r"\d[\d.e+-]*\d|\d", "…", str(note))
            key = (str(name), "missing" if pd.isna(value) else "warned", said)
            counts[key] = counts.get(key, 0) + 1
    rows = [
        {"score": title(name), "what": what, "cases": f"{count} of {totals[name]}", "note": said}
        for (name, what, said), count in counts.items()
    ]
    return pd.DataFrame(rows, columns=["score", "what", "cases", "note"])
