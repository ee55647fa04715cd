"""Reading the records: one quantity at a time, and how numbers are written in tables."""

import pandas as pd

from model_selection.measure import CHANCE, MEAN, PED, STATIC, TAU
from model_selection.scoring_config import ScoresConfig
from modelgif.experiment.record_values import values_by
from modelgif.transferability import scores

# By the name of a score and a task, or `MEAN`.
Cells = dict[tuple[str, str], float]
# In the order of the tables: the scores of the default configuration, then any others.
TITLES = {
    **{name: scores()[name].title for name in dict.fromkeys((*ScoresConfig().names, *scores()))},
    STATIC: "static ranking",
    CHANCE: "random orders",
}


def title(method: str) -> str:
    """Returns the name of a score in tables, such as ``LogME+PED``."""
    base = method.removesuffix(PED)
    return TITLES[base] + ("+PED" if base != method else "")


def methods(records: pd.DataFrame) -> list[str]:
    """Returns the scores, whether or not they gave any order."""
    found = dict.fromkeys(str(name) for name in records["method"])
    return [name for name in found if name != CHANCE]


def ordered(records: pd.DataFrame) -> list[str]:
    """Returns the scores, the best mean τ first and those without one last."""
    tau = cells(records, TAU)
    return sorted(methods(records), key=lambda name: -tau.get((name, MEAN), -2.0))


def task_columns(records: pd.DataFrame) -> list[str]:
    """Returns the tasks."""
    found = dict.fromkeys(str(subject) for subject in records["subject"])
    return [name for name in found if name != MEAN]


def cells(records: pd.DataFrame, quantity: str, *, column: str = "value") -> Cells:
    """Returns one quantity by score and task, missing numbers left out."""
    found = values_by(records, ("method", "subject"), quantity=quantity, column=column)
    return {key: float(number) for key, number in found.items() if pd.notna(number)}


def counted(
    values: Cells,
    counts: Cells,
    key: tuple[str, str],
    all_of_them: int,
    what: str,
) -> str:
    """Returns a number, empty when missing, and of how many it is when that is not all."""
    if key not in values:
        return ""
    n = int(counts[key])
    return f"{values[key]:.2f}" + (f" ({n} of {all_of_them} {what})" if n < all_of_them else "")


def range_text(low: Cells, high: Cells, key: tuple[str, str]) -> str:
    """Returns an interval, empty when there is none."""
    return f"{low[key]:.2f} to {high[key]:.2f}" if key in low else ""
