"""The authors' printed matrices, evaluated by the same code as ours.

``python -m task_relatedness.tables.published_matrices`` fills the README's sections and draws the
pictures.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from modelgif.reporting.figure import heat_map, save_figure, similarity_tree
from modelgif.reporting.table import replace_section, to_markdown
from task_relatedness.encoders.published_files import published_files
from task_relatedness.statistics.groups import (
    BY_GROUP,
    affinity_distance,
    affinity_name,
    group_distance,
    group_measurements,
)
from task_relatedness.statistics.measure import PUBLISHED, Truth, agreement_measurements
from task_relatedness.tables.record_views import to_frame
from task_relatedness.tables.tables import agreement_table, group_table, lead_table
from task_relatedness.tasks import TASK_NAMES, TASKS

HERE = Path(__file__).parents[1]
# Taskonomy's transfer affinities, sources in rows; distances that ModelGiF's authors printed; and
# similarities by RSA that they printed beside.
AFFINITY = HERE / "results" / "published_taskonomy.csv"
MODELGIF = HERE / "results" / "published_modelgif.csv"
RSA = HERE / "results" / "published_rsa.csv"
PAPER = HERE / "results" / "paper.csv"
# Redraws of tasks for the tables here; a fixed seed makes them the same in every run.
_N_BOOTSTRAP, _SEED = 2000, 0
_SIGNS = {"distance": -1.0, "similarity": 1.0}


def published_affinity(tasks: Sequence[str] = TASK_NAMES) -> np.ndarray:
    """Returns Taskonomy's affinities of sources (rows) for targets (columns), ``[M, M]``."""
    return _read(AFFINITY, tasks)


def published_distances(tasks: Sequence[str] = TASK_NAMES) -> dict[str, np.ndarray]:
    """Returns the printed distances by method, ``[M, M]``; RSA's are 1 less the similarity."""
    return {"ModelGiF": _read(MODELGIF, tasks), "RSA": 1 - _read(RSA, tasks)}


def paper_figures() -> pd.DataFrame:
    """Returns what papers print, one row per figure, with the column ``agreement``.

    It is Spearman's correlation of *nearness* with affinity, as everywhere in this testbed, and so
    has the other sign than a correlation that was printed of distances.

    Raises:
        ValueError: when a figure is neither of a distance nor of a similarity.
    """
    frame = pd.read_csv(PAPER)
    if unknown := sorted(set(frame["of"]) - set(_SIGNS)):
        raise ValueError(f"{PAPER}: `of` must be distance or similarity, got {unknown}.")
    return frame.assign(agreement=[_SIGNS[of] for of in frame["of"]] * frame["printed"])


def published_records(*, n_bootstrap: int = _N_BOOTSTRAP) -> pd.DataFrame:
    """Returns all measurements of the printed matrices, for `task_relatedness.tables.tables`.

    Args:
        n_bootstrap: bootstrap draws of tasks.
    """
    groups = [task.group for task in TASKS]
    affinity, printed = published_affinity(), published_distances()
    found = agreement_measurements(
        printed | {BY_GROUP: group_distance(groups)},
        Truth(PUBLISHED, TASK_NAMES, affinity),
        main="ModelGiF",
        image_draws={},
        n_bootstrap=n_bootstrap,
        seed=_SEED,
    )
    trees = printed | {affinity_name(PUBLISHED): affinity_distance(affinity)}
    for name, matrix in trees.items():
        measured = group_measurements(matrix, groups, n_permutations=n_bootstrap, seed=_SEED)
        found.setdefault(name, []).extend(measured)
    return to_frame(found)


def published_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns each method's printed figure, and its agreement in every reading where a matrix is.

    Args:
        records: from `published_records`.
    """
    ours = agreement_table(records, PUBLISHED).drop(columns="± images, columns")
    figures = paper_figures()
    figures = figures[figures["affinities"] == "all_affinities"]
    printed = dict(zip(figures["method"], figures["agreement"], strict=True))
    alone = [name for name in printed if name not in set(ours["method"])]
    ours = pd.concat([ours, pd.DataFrame({"method": alone})], ignore_index=True).fillna("")
    ours.insert(1, "printed", [printed.get(name) for name in ours["method"]])
    return ours


def file_table() -> pd.DataFrame:
    """Returns what to download for ``configs/paper.yaml``, one row per task."""
    files = published_files()
    rows = [(task, f"[{Path(files[task]).name}]({files[task]})") for task in TASK_NAMES]
    return pd.DataFrame(rows, columns=["task", "file"])


def draw() -> None:
    """Draws the printed matrices of ModelGiF and Taskonomy into ``assets``."""
    names, groups = [task.display for task in TASKS], [task.group for task in TASKS]
    assets = HERE.parent / "assets"
    distances, affinity = published_distances()["ModelGiF"], published_affinity()
    pictures = {
        "modelgif_heat_map": heat_map(distances, names, groups=groups),
        "modelgif_tree": similarity_tree(distances, names, groups=groups, kind="published"),
        "taskonomy_tree": similarity_tree(
            affinity_distance(affinity), names, groups=groups, kind="published"
        ),
    }
    for name, picture in pictures.items():
        save_figure(picture, assets / f"tasks_published_{name}.png")


def _read(path: Path, tasks: Sequence[str]) -> np.ndarray:
    frame = pd.read_csv(path, index_col="task")
    return frame.loc[list(tasks), list(tasks)].to_numpy(dtype=float)


def fill() -> None:
    """Fills the README's sections about what is published."""
    records = published_records()
    for section, table in {
        "published": published_table(records),
        "published leads": lead_table(records, PUBLISHED),
        "published groups": group_table(records),
        "published files": file_table(),
    }.items():
        replace_section(HERE / "README.md", section, to_markdown(table, digits=3))


if __name__ == "__main__":
    draw()
    fill()
