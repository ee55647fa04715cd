"""What descent adds to a score, and what the papers print, beside what is measured here."""

from collections.abc import Sequence

import pandas as pd

from model_selection.measure import MEAN, PED, STATIC, TAU, sign_test
from model_selection.static_ranking import (
    Paper,
    published_accuracy,
    published_taus,
    static_ranking,
)
from model_selection.taus import taus
from model_selection.view import TITLES, cells, methods, range_text, task_columns, title


def gain_table(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns what descent adds to each score, of every seed, of all, and in its paper.

    The sign test asks whether τ is as often worse as it is better.

    Args:
        runs: ``records.csv`` of one configuration, one frame per seed.
    """
    rows = []
    published = published_taus("ped")
    for base in (name for name in TITLES if any(name + PED in methods(run) for run in runs)):
        pairs = [_pairs(run, base) for run in runs]
        for run, (before, after) in zip(runs, pairs, strict=True):
            low, high = cells(run, "gain_low"), cells(run, "gain_high")
            row = _gain_row(base, f"seed {run['seed'].iloc[0]}", before, after)
            row["95 % interval, models"] = range_text(low, high, (base + PED, MEAN))
            rows.append(row)
        if len(runs) > 1:
            everywhere = [[tau for pair in pairs for tau in pair[side]] for side in (0, 1)]
            rows.append(_gain_row(base, "all seeds", *everywhere))
        if f"{TITLES[base]}+PED" in published.index:
            before, after = published.loc[TITLES[base]], published.loc[f"{TITLES[base]}+PED"]
            rows.append(_gain_row(base, "paper", before.tolist(), after.tolist()))
    return pd.DataFrame(rows).fillna("")


def paper_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean τ of each score, here and in the papers, and of the static ranking in each.

    That of the papers is computed from their accuracies, over the data sets of their own table.

    Args:
        records: ``records.csv``.
    """
    ours = {title(n): v for (n, task), v in cells(records, TAU).items() if task == MEAN}
    papers: tuple[tuple[str, Paper], ...] = (
        ("PED, 12 self-supervised models", "ped"),
        ("SFDA, 11 supervised models", "sfda"),
    )
    theirs: dict[str, dict[str, float]] = {}
    for heading, paper in papers:
        published = published_taus(paper)
        means = {str(name): float(v) for name, v in published.mean(axis=1).items()}
        means[title(STATIC)] = published_static(paper)
        theirs[heading] = means
    names = dict.fromkeys(title(name + end) for name in TITLES for end in ("", PED))
    rows = [
        {"score": name, "here": ours.get(name)}
        | {heading: means.get(name) for heading, means in theirs.items()}
        for name in names
        if any(name in means for means in (ours, *theirs.values()))
    ]
    return pd.DataFrame(rows)


def published_static(paper: Paper) -> float:
    """Returns the static ranking's mean τ over the data sets of a paper's table."""
    accuracy = published_accuracy(paper)
    own = taus(static_ranking(accuracy).to_numpy(), accuracy.to_numpy())
    by_task = pd.Series(own, index=accuracy.columns)
    return float(by_task[published_taus(paper).columns].mean())


def _gain_row(
    base: str, where: str, before: Sequence[float], after: Sequence[float]
) -> dict[str, object]:
    differences = [late - early for early, late in zip(before, after, strict=True)]
    test = sign_test(differences)
    n = len(differences)
    return {
        "score": TITLES[base],
        "where": where,
        "mean τ": sum(before) / n if n else None,
        "with PED": sum(after) / n if n else None,
        "gain": sum(differences) / n if n else None,
        "better": f"{test.n_better} of {test.n}",
        "sign test p": test.p_value,
    }


def _pairs(run: pd.DataFrame, base: str) -> tuple[list[float], list[float]]:
    """τ before and after descent, of the tasks that have both."""
    tau = cells(run, TAU)
    tasks = [t for t in task_columns(run) if (base, t) in tau and (base + PED, t) in tau]
    return [tau[base, task] for task in tasks], [tau[base + PED, task] for task in tasks]
