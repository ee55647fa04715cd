"""Stage 3: distances to the victim, verdicts, and how well each attack is told apart."""

from collections.abc import Mapping, Sequence

import pandas as pd

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.extract_fields import choose_references
from intellectual_property_protection.measure import (
    attack_measurements,
    suspect_measurements,
)
from intellectual_property_protection.tables import FIELDS, LABELS, attack_table, suspect_table
from intellectual_property_protection.train import checkpoint_path
from intellectual_property_protection.zoo import Member, roster
from modelgif.distance import distance_per_reference, pairwise_distances, zero_cells
from modelgif.experiment.data import load_data
from modelgif.experiment.measurement import Measurement, to_records
from modelgif.experiment.record import read_records, write_records
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.table import to_markdown, write_csv, write_workbook
from modelgif.loading import load_model
from modelgif.methods import label_agreement
from modelgif.store import FieldStore, check_comparable


def evaluate(run: Run[IPPConfig]) -> None:
    """Writes ``distances.csv``, ``records.csv`` and ``results.xlsx``, and prints the tables."""
    members = roster(run.config)
    stores = {m.name: FieldStore(run.folder / "fields" / f"{m.name}.h5") for m in members}
    matrix = _all_distances(stores)
    write_csv(run.folder / "distances.csv", matrix)
    found = {FIELDS: _by_fields(stores), LABELS: _by_labels(run, members)}
    for measurements in found.values():
        distance = {m.subject: m.value for m in measurements if m.quantity == "distance_to_victim"}
        measurements += suspect_measurements(members, distance)
        measurements += attack_measurements(members, distance)
    for store in stores.values():
        store.close()
    path = run.folder / "records.csv"
    write_records(path, to_records(run, found))

    records = read_records(path)
    zoo = pd.read_csv(run.folder / "zoo" / "roster.csv")
    suspects = suspect_table(zoo, records, level=run.config.level)
    attacks = attack_table(records)
    conditions = pd.json_normalize(run.conditions()).T.reset_index(names="condition")
    write_workbook(
        run.folder / "results.xlsx",
        {
            "suspects": suspects,
            "attacks": attacks,
            "distances": matrix,
            "roster": zoo,
            "records": records,
            "conditions": conditions.astype(str),
        },
    )
    print(to_markdown(suspects, digits=3), to_markdown(attacks, digits=2), sep="\n")


def _all_distances(stores: Mapping[str, FieldStore]) -> pd.DataFrame:
    """Distances of all pairs, one row and one column a model."""
    check_comparable(list(stores.values()))
    matrix = pairwise_distances(list(stores.values()), names=list(stores))
    frame = pd.DataFrame(matrix.numpy(), columns=pd.Index(list(stores)))
    frame.insert(0, "model", list(stores))
    return frame


def _by_fields(stores: Mapping[str, FieldStore]) -> list[Measurement]:
    victim, *others = stores
    found = []
    for name in others:
        each = distance_per_reference(stores[victim], stores[name])
        half_width = 1.96 * each.std().item() / len(each) ** 0.5
        value = each.mean().item()
        found.append(Measurement(name, "distance_to_victim", value, len(each), half_width))
    found += [
        Measurement(name, "zero_cells", zero_cells(store), store.shape[0] * store.shape[1])
        for name, store in stores.items()
    ]
    return found


def _by_labels(run: Run[IPPConfig], members: Sequence[Member]) -> list[Measurement]:
    data = load_data(**run.config.data.model_dump())
    images = choose_references(run.config, data).images
    models = {m.name: load_model(f"file:{checkpoint_path(run, m)}") for m in members}
    labels = {name: label_agreement.describe(model, images) for name, model in models.items()}
    victim, *others = labels
    return [
        Measurement(
            name,
            "distance_to_victim",
            label_agreement.compare(labels[victim], labels[name]),
            len(images),
        )
        for name in others
    ]


if __name__ == "__main__":
    run_stage(evaluate, IPPConfig, testbed="intellectual_property_protection")
