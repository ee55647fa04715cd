"""Stage 3: distances over epochs, what practitioners look at beside, and the verdicts."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from model_unlearning.config import UnlearningConfig
from model_unlearning.extract_fields import IMAGE_SETS
from model_unlearning.measure import (
    TO_ORIGINAL,
    TO_RETRAINED,
    by_checkpoint,
    summaries,
)
from model_unlearning.performance import QUANTITIES
from model_unlearning.tables import final_table, performance_table, verdict_table
from model_unlearning.zoo import UnlearningModel, roster
from modelgif.distances.distance import distance_per_reference, zero_cells
from modelgif.experiment.record import Measurement, read_records, write_records
from modelgif.experiment.run import Run, run_stage, to_records
from modelgif.experiment.sealed_csv import read_sealed_csv
from modelgif.reporting.table import to_markdown, write_workbook
from modelgif.storage.field_store import FieldStore, check_comparable


class Comparison(NamedTuple):
    """Two checkpoints by name, and what the second is to the first."""

    subject: str
    other: str
    quantity: str


def comparisons(config: UnlearningConfig) -> Iterator[Comparison]:
    """Gives the pairs of checkpoints whose distance is measured.

    - to the original: ``unrelated`` after each epoch to the reference after the same; ``direct``
      and the models made to forget to the reference after its last
    - to the retrained: the reference, and the models made to forget, to ``direct`` after its last;
      and ``direct`` to that of the next replicate, which is as far as retraining is from itself
    """
    members = {(m.kind, m.replicate): m for m in roster(config)}
    # Two replicates have one pair of retrained models, one has none.
    n_pairs = config.replicates if config.replicates > 2 else config.replicates - 1
    for member in members.values():
        reference = members["reference", member.replicate]
        direct = members["direct", member.replicate]
        for epoch in member.saved_epochs(config.checkpoint_every):
            name = member.checkpoint(epoch)
            if member.kind == "unrelated":
                yield Comparison(name, reference.checkpoint(epoch), TO_ORIGINAL)
            elif member.kind != "reference":
                yield Comparison(name, _end(reference), TO_ORIGINAL)
            if member.parent is not None:
                yield Comparison(name, _end(direct), TO_RETRAINED)
        if member.kind == "reference":
            yield Comparison(_end(member), _end(direct), TO_RETRAINED)
        elif member.kind == "direct" and member.replicate < n_pairs:
            following = members["direct", (member.replicate + 1) % config.replicates]
            yield Comparison(_end(member), _end(following), TO_RETRAINED)


def evaluate(run: Run[UnlearningConfig]) -> None:
    """Writes ``records.csv`` and ``results.xlsx``, and prints the tables."""
    zoo = read_sealed_csv(run.folder / "zoo" / "roster.csv")
    seen = [
        Measurement(name, quantity, value, 1)
        for quantity in QUANTITIES
        for name, value in zip(zoo["checkpoint"], zoo[quantity], strict=True)
    ]
    measured = [m for images in IMAGE_SETS for m in _distances(run, images)]
    frame = pd.DataFrame([m._asdict() for m in seen + measured])
    for mean in summaries(by_checkpoint(frame), IMAGE_SETS):
        plain = mean.quantity.removeprefix("final_") in QUANTITIES
        (seen if plain else measured).append(mean)
    path = run.folder / "records.csv"
    write_records(path, to_records(run, {"performance": seen, "modelgif": measured}))
    records = read_records(path)
    tables = {
        "distances": final_table(records),
        "verdicts": verdict_table(records),
        "performance": performance_table(records),
    }
    conditions = pd.json_normalize(run.conditions()).T.reset_index(names="condition")
    sheets = tables | {"roster": zoo, "records": records, "conditions": conditions.astype(str)}
    write_workbook(run.folder / "results.xlsx", sheets)
    print(*(to_markdown(table, digits=3) for table in tables.values()), sep="\n")


def _distances(run: Run[UnlearningConfig], images: str) -> list[Measurement]:
    """All distances at one image set, and how many cells of the fields have no direction."""
    folder = run.folder / "fields" / images
    found = []
    for subject, other, quantity in comparisons(run.config):
        with FieldStore(folder / f"{subject}.h5") as a, FieldStore(folder / f"{other}.h5") as b:
            check_comparable([a, b])
            each = distance_per_reference(a, b)
        spread = 1.96 * each.std().item() / len(each) ** 0.5 if len(each) > 1 else None
        value = each.mean().item()
        found.append(Measurement(subject, f"{quantity}.{images}", value, len(each), spread))
    for member in roster(run.config):
        with FieldStore(folder / f"{_end(member)}.h5") as store:
            count, n_cells = zero_cells(store), store.shape[0] * store.shape[1]
        found.append(Measurement(_end(member), f"zero_cells.{images}", count, n_cells))
    return found


def _end(member: UnlearningModel) -> str:
    return member.checkpoint(member.epochs)


def files(run: Run[UnlearningConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / name for name in ("records.csv", "results.xlsx")]


if __name__ == "__main__":
    run_stage(evaluate, UnlearningConfig, testbed="model_unlearning")
