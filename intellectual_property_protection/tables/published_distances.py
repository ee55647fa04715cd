"""The authors' published distances, evaluated by the same code as ours."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from intellectual_property_protection.member import Member
from intellectual_property_protection.scoring.roles import Roles
from intellectual_property_protection.scoring.score import Score
from intellectual_property_protection.scoring.separation import AUC, attack_measurements

# 155 distances to the victim at each size of the reference set, from the released program's output.
DISTANCES = Path(__file__).parents[1] / "results" / "published_distances.csv"
# The attack that each group of suspects stands for, and the labels that models answer with. Which
# layers were fine-tuned or transferred is not distinguished there.
_SUSPECTS: Mapping[str, tuple[str, str]] = {
    "finetune": ("finetune_all", "source"),
    "fine_pruning": ("fine_prune", "source"),
    "extract_l": ("extract_label", "source"),
    "extract_p": ("extract_probability", "source"),
    "extract_adv": ("extract_adversarial", "source"),
    "transfer_cifar100": ("transfer", "cifar100"),
    "transfer_cifar10c": ("transfer", "cifar10c"),
}
_INDEPENDENTS = {
    "irrelevant": "source",
    "irrelevant_cifar100": "cifar100",
    "irrelevant_cifar10c": "cifar10c",
}


def published_table() -> pd.DataFrame:
    """Returns the AUC of the authors' distances, by attack (row) and number of references (column).

    Negatives are the independents with the suspects' label set, of all architectures: those by
    whose distances the references were chosen.
    """
    distances = pd.read_csv(DISTANCES)
    rows: dict[str, dict[str, object]] = {}
    for size, of_size in distances.groupby("reference_points"):
        for measurement in attack_measurements(*_roles_and_score(pd.DataFrame(of_size))):
            row = rows.setdefault(measurement.subject, {"attack": measurement.subject})
            if measurement.quantity == "n_negatives_pooled":
                row |= {"models": measurement.n, "negatives": int(measurement.value)}
            elif measurement.quantity == AUC["pooled"]:
                row[f"{size} references"] = measurement.value
    frame = pd.DataFrame(list(rows.values()))
    counts = ["attack", "models", "negatives"]
    return frame.loc[:, [*counts, *(name for name in frame.columns if name not in counts)]]


def _roles_and_score(distances: pd.DataFrame) -> tuple[Roles, Score]:
    members, values = [], []
    for group, index, value in zip(
        distances["group"], distances["index"], distances["distance"], strict=True
    ):
        name = f"{group}-{index}"
        if group in _SUSPECTS:
            recipe, label_set = _SUSPECTS[group]
            member = Member(name, "suspect", recipe, "unknown", label_set=label_set)
        else:
            label_set = _INDEPENDENTS[group]
            member = Member(name, "independent", "scratch", "unknown", label_set=label_set)
        members.append(member)
        values.append(value)
    victim = Member("victim", "victim", "scratch", "unknown", data="victim")
    none_chooses = np.full(len(members), -1)
    score = Score(np.array(values, dtype=float)[None], none_chooses)
    return Roles(victim, tuple(members), none_chooses), score
