"""The static ranking: the plainest baseline, which uses no features of the task."""

from pathlib import Path
from typing import Literal

import pandas as pd

# Of PED (12 self-supervised models) and of SFDA (11 supervised ones).
Paper = Literal["ped", "sfda"]
RESULTS = Path(__file__).parent / "results"


def static_ranking(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Returns every model's mean accuracy on the *other* tasks: one order for all, nearly.

    Args:
        accuracy: after fine-tuning, one row per model and one column per task.

    Raises:
        ValueError: for fewer than two tasks.
    """
    n_tasks = accuracy.shape[1]
    if n_tasks < 2:
        raise ValueError(f"a static ranking needs other tasks to rank by, got {n_tasks} in all.")
    others = -accuracy.sub(accuracy.sum(axis=1), axis=0)
    return others / (n_tasks - 1)


def published_accuracy(paper: Paper) -> pd.DataFrame:
    """Returns a paper's fine-tuned accuracies, one row per model, one column per data set."""
    rows = pd.read_csv(RESULTS / "paper_accuracy.csv").query("paper == @paper")
    return rows.pivot(index="model", columns="dataset", values="accuracy")


def published_taus(paper: Paper) -> pd.DataFrame:
    """Returns a paper's weighted Kendall's τ, one row per score, one column per data set."""
    rows = pd.read_csv(RESULTS / "paper.csv").query("paper == @paper")
    return rows.pivot(index="method", columns="dataset", values="tau")
