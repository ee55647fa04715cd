"""Stage 4: draws the heat map, the similarity tree, the distances by role and the ROC curves."""

import pandas as pd

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.tables import measured
from intellectual_property_protection.zoo import Member, roster
from modelgif.experiment.figure import (
    distributions,
    heat_map,
    roc,
    save_figure,
    similarity_tree,
)
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, run_stage


def plot(run: Run[IPPConfig]) -> None:
    """Draws every figure from the files of the evaluation."""
    members = roster(run.config)
    names, groups = [m.name for m in members], [_group(m) for m in members]
    matrix = pd.read_csv(run.folder / "distances.csv", index_col="model").loc[names, names]
    figures = run.folder / "figures"
    save_figure(heat_map(matrix, names, groups=groups), figures / "heat_map.png")
    save_figure(similarity_tree(matrix, names, groups=groups), figures / "similarity_tree.png")

    distance = measured(read_records(run.folder / "records.csv"), "distance_to_victim")
    by_kind: dict[str, list[float]] = {}
    by_group: dict[str, list[float]] = {}
    for member in members[1:]:
        kind = f"{_group(member)}, {member.short_architecture}"
        by_kind.setdefault(kind, []).append(distance[member.name])
        by_group.setdefault(_group(member), []).append(distance[member.name])
    save_figure(distributions(by_kind), figures / "distances.png")
    independent = by_group.pop("independent")
    curves = {group: (derived, independent) for group, derived in by_group.items()}
    save_figure(roc(curves), figures / "roc.png")


def _group(member: Member) -> str:
    """What a reader of a figure tells models by; honest suspects are independent models."""
    if member.role == "victim":
        return "victim"
    return member.attack if member.is_derived else "independent"


if __name__ == "__main__":
    run_stage(plot, IPPConfig, testbed="intellectual_property_protection")
