"""Stage 3: scores of all models, verdicts, and how well scores separate each attack."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from intellectual_property_protection.comparing.comparison_file import (
    Comparison,
    Comparisons,
    read_comparison,
    side_by_side,
)
from intellectual_property_protection.comparing.victim_comparison import ZERO_CELLS
from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.extract_fields import (
    candidates_path,
    comparison_path,
    field_path,
)
from intellectual_property_protection.member import Member
from intellectual_property_protection.score_name import (
    ScoreName,
    main_score,
    score_names,
    verdict_scores,
)
from intellectual_property_protection.scoring.roles import roles_of
from intellectual_property_protection.scoring.scores import Scores
from intellectual_property_protection.scoring.verdicts import (
    honest_measurements,
    suspect_measurements,
)
from intellectual_property_protection.tables.tables import all_tables
from intellectual_property_protection.zoo import roster
from modelgif.distances.distance import pairwise_distances
from modelgif.experiment.record import Measurement, read_records, write_records
from modelgif.experiment.run import Run, run_stage, to_records
from modelgif.experiment.sealed_csv import read_sealed_csv
from modelgif.experiment.seeding import derive_seed, seeded_generator
from modelgif.references.file import read_references
from modelgif.reporting.table import to_markdown, write_csv, write_workbook
from modelgif.storage.field_store import FieldStore, check_comparable


def evaluate(run: Run[IPPConfig]) -> None:
    """Writes all distances and scores, ``records.csv`` and ``results.xlsx``, and prints tables."""
    config = run.config
    members = roster(config)
    matrix = _all_distances(run, members)
    write_csv(run.folder / "distances.csv", matrix)
    found: dict[str, list[Measurement]] = {}
    for method, measurements in _measured(run, members):
        found.setdefault(method, []).extend(measurements)
    path = run.folder / "records.csv"
    write_records(path, to_records(run, found))

    records = read_records(path)
    zoo = read_sealed_csv(run.folder / "zoo" / "roster.csv")
    tables = all_tables(config, zoo, records)
    conditions = pd.json_normalize(run.conditions()).T.reset_index(names="condition")
    sheets = {"distances": matrix, "roster": zoo, "records": records}
    write_workbook(
        run.folder / "results.xlsx", tables | sheets | {"conditions": conditions.astype(str)}
    )
    for name in ("suspects", "attacks", "honest"):
        print(to_markdown(tables[name], digits=3))


def _all_distances(run: Run[IPPConfig], members: Sequence[Member]) -> pd.DataFrame:
    """Distances of all pairs at the shown references, one row and one column per model."""
    names = [member.name for member in members]
    stores = [FieldStore(field_path(run, member)) for member in members]
    try:
        check_comparable(stores)
        matrix = pairwise_distances(stores, names=names)
    finally:
        for store in stores:
            store.close()
    frame = pd.DataFrame(matrix.numpy(), columns=pd.Index(names))
    frame.insert(0, "model", names)
    return frame


def _measured(
    run: Run[IPPConfig], members: Sequence[Member]
) -> Iterator[tuple[str, list[Measurement]]]:
    """Gives measurements by the name of a score, of a combination, or of the zoo."""
    config, evaluation = run.config, run.config.evaluation
    roles = roles_of(members, folds=evaluation.folds, seed=config.seed)
    each = [read_comparison(comparison_path(run, member)) for member in roles.members]
    scores = Scores(_comparisons(run, each), roles, config.references, evaluation)
    judging = verdict_scores(config.references, evaluation)
    plain = [
        str(ScoreName(name, config.references.sources[0]))
        for name in evaluation.per_reference_methods
    ]
    write_csv(run.folder / "scores.csv", _wide(scores))
    yield from scores.distances([*plain, *judging])
    yield from scores.attacks(np.random.default_rng(derive_seed(config.seed, "resamples")))
    yield from scores.curves()
    for name in judging:
        parts = scores.parts[name]
        generator = seeded_generator(config.seed, "resamples", name)
        suspects = suspect_measurements(
            roles, parts, evaluation, level=config.level, generator=generator
        )
        yield name, suspects
        yield name, honest_measurements(roles, parts, evaluation, level=config.level)
    first = evaluation.per_reference_methods[0]
    zero_cells = [
        Measurement(name, ZERO_CELLS, one.of_sets[ZERO_CELLS], len(one.per_reference[first]))
        for name, one in zip(roles.names, each, strict=True)
    ]
    yield str(main_score(config.references, evaluation)), zero_cells


def _wide(scores: Scores) -> pd.DataFrame:
    """Every score of every model, one row per model and one column per score."""
    columns = {name: score.own for name, score in scores.all().items()}
    return pd.DataFrame({"model": scores.roles.names} | columns)


def _comparisons(run: Run[IPPConfig], each: Sequence[Comparison]) -> Comparisons:
    config = run.config
    names = score_names(config.references, config.evaluation)
    per_reference = config.evaluation.per_reference_methods
    of_sets = [str(name) for name in names if name.method not in per_reference]
    return side_by_side(each, read_references(candidates_path(run)).ids, per_reference, of_sets)


def files(run: Run[IPPConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / name for name in ("records.csv", "results.xlsx")]


if __name__ == "__main__":
    run_stage(evaluate, IPPConfig, testbed="intellectual_property_protection")
