"""Stage 4: how well distances order tasks as transfers do, and whether trees show their groups."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from modelgif.experiment.record import Measurement, read_records, write_records
from modelgif.experiment.run import Run, run_stage, to_records
from modelgif.experiment.seeding import derive_seed
from modelgif.reporting.table import to_markdown, write_workbook
from task_relatedness.comparing.distance_files import MAIN, Distances, read_distances
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.statistics.affinity import affinity_matrix
from task_relatedness.statistics.bootstrap import image_counts, resampled
from task_relatedness.statistics.groups import (
    BY_GROUP,
    affinity_distance,
    affinity_name,
    group_distance,
    group_measurements,
)
from task_relatedness.statistics.measure import PUBLISHED, ROOMS, Truth, agreement_measurements
from task_relatedness.tables.matrix_files import AFFINITIES, DISTANCES, write_matrices
from task_relatedness.tables.paper_and_ours import (
    like_main,
    main_method,
    paper_table,
    variants_of_main,
)
from task_relatedness.tables.published_matrices import published_affinity
from task_relatedness.tables.tables import (
    agreement_table,
    group_table,
    lead_table,
    retrieval_table,
    target_table,
    zoo_table,
)
from task_relatedness.tasks import TASKS
from task_relatedness.transfer import read_transfer


def evaluate(run: Run[TaskRelatednessConfig]) -> None:
    """Writes records, matrices and ``results.xlsx``, and prints the tables."""
    config, distances, truths = run.config, read_distances(run), read_truths(run)
    matrices = {name: of_method.matrix for name, of_method in distances.items()}
    affinities = {truth.name: truth.affinity for truth in truths}
    write_matrices(run.folder, DISTANCES, matrices, config.tasks)
    write_matrices(run.folder, AFFINITIES, affinities, config.tasks)
    path = run.folder / "records.csv"
    write_records(path, to_records(run, measurements(config, distances, truths)))

    records = read_records(path)
    tables = all_tables(config, records)
    sheets = tables | {"records": records}
    if config.rooms is not None:
        sheets = {"networks": zoo_table(pd.read_csv(run.folder / "zoo" / "roster.csv"))} | sheets
    conditions = pd.json_normalize(run.conditions()).T.reset_index(names="condition")
    write_workbook(run.folder / "results.xlsx", sheets | {"conditions": conditions.astype(str)})
    for name, table in tables.items():
        print(f"{name}\n\n{to_markdown(table, digits=3)}")


def read_truths(run: Run[TaskRelatednessConfig]) -> list[Truth]:
    """Returns what distances are compared with: the rooms' own transfers, where there are rooms,
    and Taskonomy's published affinities of the same tasks.
    """
    config = run.config
    truths = [Truth(PUBLISHED, config.tasks, published_affinity(config.tasks))]
    if config.rooms is not None:
        transfers = read_transfer(run)
        n_bootstrap, seed = (
            config.measure.n_bootstrap,
            derive_seed(config.seed, "redraw test rooms"),
        )
        counts = image_counts(config.rooms.n_test, n_bootstrap, seed)
        affinity = affinity_matrix(transfers, config.tasks)
        draws = affinity_matrix(transfers, config.tasks, counts=counts)
        truths.insert(0, Truth(ROOMS, config.tasks, affinity, draws))
    return truths


def measurements(
    config: TaskRelatednessConfig, distances: Mapping[str, Distances], truths: Sequence[Truth]
) -> dict[str, list[Measurement]]:
    """Returns all that is measured, by method.

    Beside the methods stand the plainest, `task_relatedness.statistics.groups.group_distance`, and
    the rooms' own affinities as a method that tells Taskonomy's.

    Args:
        config: of the run.
        distances: by method.
        truths: from `read_truths`.
    """
    groups = [task.group for task in TASKS if task.name in config.tasks]
    n_bootstrap, seed = config.measure.n_bootstrap, derive_seed(config.seed, "evaluate")
    matrices = {name: of_method.matrix for name, of_method in distances.items()}
    symmetric = matrices | {affinity_name(t.name): affinity_distance(t.affinity) for t in truths}
    found: dict[str, list[Measurement]] = {
        name: group_measurements(matrix, groups, n_permutations=n_bootstrap, seed=seed)
        for name, matrix in symmetric.items()
    }
    found[BY_GROUP] = []
    image_draws = _image_draws(config, distances)
    rooms = {affinity_name(truth.name): truth for truth in truths if truth.name == ROOMS}
    for truth in truths:
        telling = matrices | {BY_GROUP: group_distance(groups)}
        resampled_too = dict(image_draws)
        if truth.name != ROOMS:
            telling |= {name: -of_rooms.affinity for name, of_rooms in rooms.items()}
            resampled_too |= {n: -t.draws for n, t in rooms.items() if t.draws is not None}
        for name, measured in agreement_measurements(
            telling,
            truth,
            main=main_method(config),
            image_draws=resampled_too,
            n_bootstrap=n_bootstrap,
            seed=seed,
        ).items():
            found[name] += measured
    for name, of_method in distances.items():
        found[name] += _zero_cells(config, of_method)
    return found


def all_tables(config: TaskRelatednessConfig, records: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Returns every table by name.

    Those called ``all methods`` have everything that the configuration asks for; ``variants`` has
    ModelGiF's; the others have one row per method, applied to the same as the first.

    Args:
        config: of the run.
        records: ``records.csv``.
    """
    like, variants = like_main(config, records), variants_of_main(config, records)
    tables, whole = {}, {}
    for truth in [PUBLISHED] if config.rooms is None else [ROOMS, PUBLISHED]:
        tables |= {
            f"agreement, {truth}": agreement_table(like, truth),
            f"leads, {truth}": lead_table(like, truth),
            f"variants, {truth}": agreement_table(variants, truth),
            f"sources found, {truth}": retrieval_table(like, truth),
            f"targets, {truth}": target_table(like, truth),
        }
        whole[f"all methods, {truth}"] = agreement_table(records, truth)
    tables |= {"groups": group_table(like), "papers": paper_table(config, records)}
    return tables | whole | {"all methods, groups": group_table(records)}


def _image_draws(
    config: TaskRelatednessConfig, distances: Mapping[str, Distances]
) -> dict[str, np.ndarray]:
    """Distances with references resampled, the same ones for all methods that can be resampled."""
    seed, found = derive_seed(config.seed, "redraw references"), {}
    for name, of_method in distances.items():
        if of_method.per_reference is not None:
            n_references = of_method.per_reference.shape[-1]
            counts = image_counts(n_references, config.measure.n_bootstrap, seed)
            found[name] = resampled(of_method.per_reference, counts)
    return found


def _zero_cells(config: TaskRelatednessConfig, distances: Distances) -> list[Measurement]:
    """How many cells of each encoder have no direction, of how many."""
    if distances.zero_cells is None or distances.per_reference is None:
        return []
    n_steps = config.measure.n_steps if distances.name.method == MAIN else 1
    n_cells = distances.per_reference.shape[-1] * n_steps
    counts = zip(distances.tasks, distances.zero_cells.tolist(), strict=True)
    return [Measurement(task, "zero_cells", float(count), n_cells) for task, count in counts]


def files(run: Run[TaskRelatednessConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / name for name in ("records.csv", "results.xlsx")]


if __name__ == "__main__":
    run_stage(evaluate, TaskRelatednessConfig, testbed="task_relatedness")
