"""The testbed's two tables, made from the roster and the records."""

from collections.abc import Sequence
from typing import get_args

import pandas as pd

from modelgif.verdict import Decision, decide

FIELDS, LABELS = "modelgif", "label_agreement"


def measured(
    records: pd.DataFrame, quantity: str, *, method: str = FIELDS, column: str = "value"
) -> dict[str, float]:
    """Returns one quantity of one method, by subject, in the order of the records."""
    rows = records.loc[(records["method"] == method) & (records["quantity"] == quantity)]
    return dict(zip(rows["subject"], rows[column], strict=True))


def suspect_table(roster: pd.DataFrame, records: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Returns one row a suspect, nearest first: what it is, how far it is, and the verdict.

    Args:
        roster: ``zoo/roster.csv``.
        records: ``records.csv``.
        level: share of honest models that may be called derived.
    """
    columns = (roster["model"], roster["recipe"], roster["accuracy"])
    cards = {name: rest for name, *rest in zip(*columns, strict=True)}
    distance = measured(records, "distance_to_victim")
    by_labels = measured(records, "distance_to_victim", method=LABELS)
    counts = measured(records, "p_value", column="n")
    rows = [
        {
            "suspect": name,
            "made by": "honest" if cards[name][0] == "scratch" else cards[name][0],
            "accuracy": cards[name][1],
            "field distance": distance[name],
            "label distance": by_labels[name],
            "p-value": p_value,
            "verdict": decide(p_value, int(counts[name]), level=level),
        }
        for name, p_value in measured(records, "p_value").items()
    ]
    return pd.DataFrame(rows).sort_values("field distance", ignore_index=True)


def verdict_table(suspects: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns how often each verdict was passed on each kind of suspect, over several runs.

    Args:
        suspects: a `suspect_table` a run.
    """
    everyone = pd.concat(suspects)
    counts = pd.crosstab(everyone["made by"], everyone["verdict"])
    counts = counts.reindex(columns=list(get_args(Decision)), fill_value=0)
    return counts.rename_axis("suspects made by").reset_index().rename_axis(columns=None)


def attack_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns one row an attack: AUC of fields and of label agreement, with counts.

    Args:
        records: ``records.csv``.
    """
    quantities = ("pooled", "matched", "matched_low", "matched_high")
    auc = {name: measured(records, f"auc_{name}") for name in quantities}
    by_labels = measured(records, "auc_matched", method=LABELS)
    n_models = measured(records, "auc_matched", column="n")
    n_negatives = measured(records, "n_negatives_matched")
    found = measured(records, "tpr_at_5_percent_fpr")
    return pd.DataFrame(
        {
            "attack": attack,
            "models": int(n_models[attack]),
            "negatives": int(n_negatives[attack]),
            "AUC, same architecture": auc["matched"][attack],
            "95 % interval": f"{auc['matched_low'][attack]:.2f}–{auc['matched_high'][attack]:.2f}",
            "AUC, pooled": auc["pooled"][attack],
            "TPR at 5 % FPR, pooled": found[attack],
            "labels: AUC, same architecture": by_labels[attack],
        }
        for attack in auc["matched"]
    )
