"""The testbed's tables, made from the roster and the records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import pandas as pd
import scipy.stats

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.recipes import RECIPES
from intellectual_property_protection.score_name import label_score, main_score, verdict_scores
from intellectual_property_protection.scoring.roles import LEVELS
from intellectual_property_protection.scoring.separation import AUC
from intellectual_property_protection.scoring.verdicts import DECISIONS, FALSE_POSITIVES
from modelgif.experiment.record_values import values_by
from modelgif.ranking import auc_interval
from modelgif.verdict import Calibration, Decision

PAPER = Path(__file__).parents[1] / "results" / "paper.csv"
GOAL = 0.95
_AMONG = {
    "architecture and training": "of its architecture and training",
    "architecture": "of its architecture",
    "pooled": "of any",
}


def by_subject(
    records: pd.DataFrame, quantity: str, method: str, *, column: str = "value"
) -> dict[str, float]:
    """Returns one quantity of one method, by subject, in the order of the records."""
    return values_by(records, "subject", method=method, quantity=quantity, column=column)


def all_tables(
    config: IPPConfig, roster: pd.DataFrame, records: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Returns every table by name.

    Args:
        config: of the run.
        roster: ``zoo/roster.csv``.
        records: ``records.csv``.
    """
    names = verdict_scores(config.references, config.evaluation)
    return {
        "suspects": suspect_table(config, roster, records),
        "attacks": attack_table(config, records),
        "honest": honest_table(records, names),
        "methods": method_table(records),
        "goal": goal_table(records),
        "paper": paper_table(config, records),
        "curves": curve_table(records),
    }


def suspect_table(config: IPPConfig, roster: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per suspect, most suspicious first: what it is, how far it is, the verdict.

    The verdict is on each suspect by itself; the last column is the p-value that also keeps the
    chance of accusing any honest one of them.
    """
    fields = str(main_score(config.references, config.evaluation))
    labels = str(label_score(config.references))
    columns = (roster["model"], roster["role"], roster["recipe"], roster["accuracy"])
    cards = zip(*columns, strict=True)
    distance = by_subject(records, "distance_to_victim", fields)
    by_labels = by_subject(records, "distance_to_victim", labels)
    verdict_score = config.evaluation.verdict
    p_values = by_subject(records, "p_value", verdict_score)
    counts = by_subject(records, "p_value", verdict_score, column="n")
    holm = by_subject(records, "p_value_holm", verdict_score)
    matched_by = by_subject(records, "matched_by", verdict_score)
    decision = by_subject(records, "decision", verdict_score)
    decisions = {number: name for name, number in DECISIONS.items()}
    rows = []
    for name, role, recipe, accuracy in cards:
        if role == "suspect":
            row = {
                "suspect": name,
                "made by": recipe if RECIPES[recipe].has_parent else "honest",
                "accuracy": accuracy,
                "field distance": distance[name],
                "label disagreement": by_labels.get(name),
                "compared with": "none like it",
                "p-value": p_values.get(name),
                "verdict": "undecided",
                "p-value (Holm)": holm.get(name),
            }
            if name in p_values:
                among = _AMONG[LEVELS[int(matched_by[name])]]
                row["compared with"] = f"{counts[name]} {among}"
                row["verdict"] = decisions[int(decision[name])]
            rows.append(row)
    frame = _numbers(pd.DataFrame(rows), text=("suspect", "made by", "compared with", "verdict"))
    return frame.sort_values(["p-value", "field distance"], ignore_index=True)


def verdict_table(suspects: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns how often each verdict was passed on each kind of suspect, over several runs.

    Args:
        suspects: one `suspect_table` per run.
    """
    everyone = pd.concat(suspects)
    counts = pd.crosstab(everyone["made by"], everyone["verdict"])
    counts = counts.reindex(columns=list(get_args(Decision)), fill_value=0)
    return counts.rename_axis("suspects made by").reset_index().rename_axis(columns=None)


def attack_table(config: IPPConfig, records: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per attack: AUC of fields, of label agreement and of the verdict's score.

    Negatives are those of the suspects' architectures. Intervals come from the numbers of models,
    see `modelgif.ranking.auc_interval`; they treat several architectures as one.
    """
    fields = str(main_score(config.references, config.evaluation))
    labels = str(label_score(config.references))
    verdict_score = config.evaluation.verdict
    auc = {level: by_subject(records, quantity, fields) for level, quantity in AUC.items()}
    n_models = by_subject(records, AUC["architecture"], fields, column="n")
    n_pooled = by_subject(records, AUC["pooled"], fields, column="n")
    n_negatives = by_subject(records, "n_negatives_matched", fields)
    found = by_subject(records, "tpr_pooled_at_5_percent_fpr", fields)
    by_labels = by_subject(records, AUC["architecture"], labels)
    by_verdict_score = {
        level: by_subject(records, quantity, verdict_score) for level, quantity in AUC.items()
    }
    rows = []
    for attack, pooled in auc["pooled"].items():
        matched = auc["architecture"].get(attack)
        interval = ""
        if matched is not None:
            low, high = auc_interval(matched, int(n_models[attack]), int(n_negatives[attack]))
            interval = f"{low:.2f}–{high:.2f}"
        rows.append(
            {
                "attack": attack,
                "models": int(n_pooled[attack]),
                "negatives": int(n_negatives.get(attack, 0)),
                "AUC, same architecture": matched,
                "95 % interval": interval,
                "AUC, same training, too": auc[LEVELS[0]].get(attack),
                "AUC, pooled": pooled,
                "TPR at 5 % FPR, pooled": found[attack],
                "labels: AUC, same architecture": by_labels.get(attack),
                f"{verdict_score}: AUC, same architecture": by_verdict_score["architecture"].get(
                    attack
                ),
                f"{verdict_score}: AUC, same training, too": by_verdict_score[LEVELS[0]].get(
                    attack
                ),
            }
        )
    return _numbers(pd.DataFrame(rows), text=("attack", "95 % interval"))


def honest_table(records: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Returns how many honest models of each group each of `methods` would call derived.

    There is one row per group and calibration. The interval is Wilson's, of a share of models.
    """
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for method in methods:
        for calibration in get_args(Calibration):
            quantity = f"{FALSE_POSITIVES}_{calibration}"
            counts = by_subject(records, quantity, method, column="n")
            for group, share in by_subject(records, quantity, method).items():
                n = int(counts[group])
                hits = round(share * n)
                interval = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
                row = {"honest models": group, "calibration": calibration}
                cell = f"{hits} of {n} ({interval.low:.2f}–{interval.high:.2f})"
                rows.setdefault((group, calibration), row)[method] = cell
    return pd.DataFrame([rows[key] for key in sorted(rows)])


def method_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns the AUC within architectures of every score (row) for every attack (column).

    Rows are sorted by the worst attack. `leaks` marks the paper's protocol, where references were
    chosen with the very negatives.
    """
    return _by_attack(records, AUC["architecture"])


def goal_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns which scores reach the goal: AUC within architectures of 0.95 for every attack.

    Only scores that are known for every attack, and do not leak; best first.
    """
    found = _by_attack(records, AUC["architecture"])
    kinds = _by_attack(records, AUC["architecture and training"])
    alike = dict(zip(kinds["score"], kinds["worst"], strict=True))
    rows = []
    for row in found.to_dict("records"):
        score, leaks, worst = row.pop("score"), row.pop("leaks"), row.pop("worst")
        if not leaks and not any(pd.isna(value) for value in row.values()):
            rows.append(
                {
                    "score": score,
                    "worst attack": min(row, key=lambda attack: row[attack]),
                    "its AUC, same architecture": worst,
                    "worst AUC, same training, too": alike.get(score),
                    f"{GOAL} or more for every attack": "yes" if worst >= GOAL else "no",
                }
            )
    return pd.DataFrame(rows)


def confirmed_table(by_zoo: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Returns the worst attack's AUC of every score in several zoos, best in all of them first.

    A score that was chosen on one zoo is confirmed by the others.

    Args:
        by_zoo: tables from `goal_table`, by the name of a zoo.
    """
    worst = pd.concat(
        {
            f"worst AUC, {zoo}": pd.Series(
                goals["its AUC, same architecture"].to_numpy(), index=goals["score"]
            )
            for zoo, goals in by_zoo.items()
        },
        axis=1,
        join="inner",
    )
    frame = worst.assign(**{"worst of all": worst.min(axis=1)}).rename_axis("score").reset_index()
    return frame.sort_values(["worst of all", "score"], ascending=[False, True], ignore_index=True)


def paper_table(config: IPPConfig, records: pd.DataFrame) -> pd.DataFrame:
    """Returns the paper's table of AUC on CIFAR-10, and ours beside it, pooled as there.

    Ours are: fields at references as drawn, chosen by independents that are not tested, and chosen
    by those that are (the paper's protocol, which leaks); SAC; and the verdict's score.
    """
    paper = pd.read_csv(PAPER)
    fields = str(main_score(config.references, config.evaluation))
    ours = {
        "ours, as drawn": fields,
        "ours, chosen by others": f"{fields}/independents",
        "ours, paper's protocol (leaks)": f"{fields}/independents/paper",
        "our SAC": f"sac@{config.evaluation.set_sources[0]}",
        f"our {config.evaluation.verdict}": config.evaluation.verdict,
    }
    columns = {name: by_subject(records, AUC["pooled"], method) for name, method in ours.items()}
    rows = []
    for row in paper.to_dict("records"):
        attack = row.pop("recipe")
        published = {
            f"paper: {name}" if name != "attack" else name: value for name, value in row.items()
        }
        rows.append(published | {name: of.get(attack) for name, of in columns.items()})
    return _numbers(pd.DataFrame(rows), text=("attack",))


def curve_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns the AUC within architectures by the number of references (columns)."""
    prefix = "auc_matched_with_"
    sizes = [
        int(quantity.removeprefix(prefix)) if quantity.startswith(prefix) else 0
        for quantity in records["quantity"]
    ]
    frame = records.assign(size=sizes)
    table = frame[frame["size"] > 0].pivot_table(
        index=["method", "subject"], columns="size", values="value"
    )
    table.columns = [str(size) for size in table.columns]
    return table.reset_index().rename(columns={"method": "score", "subject": "attack"})


def _by_attack(records: pd.DataFrame, quantity: str) -> pd.DataFrame:
    rows = records[records["quantity"] == quantity]
    table = rows.pivot_table(index="method", columns="subject", values="value", sort=False)
    table = table[sorted(table.columns)]
    worst = table.min(axis=1)
    frame = table.assign(worst=worst).rename_axis("score").reset_index().rename_axis(columns=None)
    leaks = ["leaks" if name.endswith("/paper") else "" for name in frame["score"]]
    frame.insert(1, "leaks", leaks)
    return frame.sort_values(["worst", "score"], ascending=[False, True], ignore_index=True)


def _numbers(frame: pd.DataFrame, *, text: Sequence[str]) -> pd.DataFrame:
    """The frame with missing numbers as NaN, so that its columns are aligned as numbers."""
    return frame.astype(
        {name: float for name in frame.columns if name not in text and frame[name].dtype == object}
    )
