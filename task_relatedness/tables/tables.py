"""The testbed's tables, made from records."""

import pandas as pd

from task_relatedness.statistics.groups import GROUPS
from task_relatedness.tables.record_views import (
    READING_TITLES,
    SORTED_BY,
    by_method,
    by_reading,
    ordered,
    title,
)
from task_relatedness.tasks import TASKS


def agreement_table(records: pd.DataFrame, truth: str) -> pd.DataFrame:
    """Returns one row per method, best first: its agreement with a truth in each reading.

    In brackets is the interval for other tasks; the last column is what other images would change.

    Args:
        records: ``records.csv``.
        truth: the name of a `task_relatedness.statistics.measure.Truth`.
    """
    value, p = by_reading(records, truth, "value"), by_reading(records, truth, "p")
    spread = by_reading(records, truth, "value", column="spread")
    low, high = (by_reading(records, truth, end) for end in ("low", "high"))
    rows = []
    for name in ordered(records, truth):
        row = {"method": title(name)}
        for reading, column in READING_TITLES.items():
            key = (name, reading)
            row[column] = _with_interval(value.get(key), low.get(key), high.get(key))
        row["p, columns"] = _p_text(p.get((name, SORTED_BY)))
        half = spread.get((name, SORTED_BY))
        row["± images, columns"] = "" if half is None or pd.isna(half) else f"{half:.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def lead_table(records: pd.DataFrame, truth: str) -> pd.DataFrame:
    """Returns by how much the main method agrees better with a truth than each other method.

    In brackets is the interval for other tasks; where it holds 0, neither is shown to be better.

    Args:
        records: ``records.csv``.
        truth: the name of a `task_relatedness.statistics.measure.Truth`.
    """
    lead = by_reading(records, truth, "lead")
    low, high = (by_reading(records, truth, f"lead_{end}") for end in ("low", "high"))
    led = {name for name, _ in lead}
    rows = [
        {"lead over": title(name)}
        | {
            column: _with_interval(
                lead.get((name, reading)), low.get((name, reading)), high.get((name, reading))
            )
            for reading, column in READING_TITLES.items()
        }
        for name in ordered(records, truth)
        if name in led
    ]
    return pd.DataFrame(rows, columns=["lead over", *READING_TITLES.values()])


def target_table(records: pd.DataFrame, truth: str) -> pd.DataFrame:
    """Returns one row per target: each method's coefficient of its sources, itself not among them.

    Args:
        records: ``records.csv``.
        truth: the name of a `task_relatedness.statistics.measure.Truth`.
    """
    names = ordered(records, truth)
    found = {task.name: by_method(records, truth, f"columns.{task.name}") for task in TASKS}
    rows = [
        {"target": task.name, "group": task.group}
        | {title(name): found[task.name].get(name) for name in names}
        for task in TASKS
        if found[task.name]
    ]
    return pd.DataFrame(rows)


def retrieval_table(records: pd.DataFrame, truth: str) -> pd.DataFrame:
    """Returns P@K and R@K of each method, means over targets, and what random orders give.

    Args:
        records: ``records.csv``.
        truth: the name of a `task_relatedness.statistics.measure.Truth`.
    """
    precision = [by_method(records, truth, f"precision_at_{k}") for k in range(1, 6)]
    recall = [by_method(records, truth, f"recall_at_{k}") for k in range(1, 6)]
    n_relevant = sum(bool(found) for found in precision)
    of_truth = (records["subject"] == truth) & (records["quantity"] == "precision_at_1")
    n_sources = int(records.loc[of_truth, "n"].max()) - 1
    rows = []
    for name in ordered(records, truth):
        row: dict[str, object] = {"method": title(name)}
        row |= {f"P@{k + 1}": precision[k].get(name) for k in range(n_relevant)}
        rows.append(row | {f"R@{k + 1}": recall[k].get(name) for k in range(n_relevant)})
    chance: dict[str, object] = {"method": "random order"}
    chance |= {f"P@{k + 1}": n_relevant / n_sources for k in range(n_relevant)}
    chance |= {f"R@{k + 1}": (k + 1) / n_sources for k in range(n_relevant)}
    return pd.DataFrame([*rows, chance])


def group_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per method: whether its tree and its distances show the groups of tasks.

    Columns that no method has a number in are left out.

    Args:
        records: ``records.csv``.
    """
    groups = list(dict.fromkeys(task.group for task in TASKS))
    columns = {
        "Rand index, published tree": "rand_published",
        "Rand index, average tree": "rand_average",
        **{f"branch {group}": f"branch.{group}" for group in groups},
        "within nearer than between": "separation",
    }
    found = {column: by_method(records, GROUPS, name) for column, name in columns.items()}
    separation = found["within nearer than between"]
    names = sorted(separation, key=lambda name: -separation[name])
    rows = [
        {"method": title(name)} | {column: of.get(name) for column, of in found.items()}
        for name in names
    ]
    table = pd.DataFrame(rows, columns=["method", *columns])
    table = table.astype(dict.fromkeys(columns, float))
    table = table.loc[:, ["method", *(column for column in columns if found[column])]]
    p = by_method(records, GROUPS, "separation.p")
    return table.assign(p=[_p_text(p.get(name)) for name in names])


def zoo_table(roster: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per task: what its network reached on the test rooms, and what it means.

    Args:
        roster: ``zoo/roster.csv``.
    """
    return pd.DataFrame(
        {
            "task": roster["task"],
            "group": roster["group"],
            "metric": roster["metric"],
            "network": roster["value"],
            "trivial predictor": roster["trivial"],
            "better is": roster["better"],
        }
    )


def _p_text(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    # "z" writes a number that rounds to zero without a minus sign.
    return f"{value:z.2f}" + ("" if low is None else f" ({low:z.2f} to {high:z.2f})")
