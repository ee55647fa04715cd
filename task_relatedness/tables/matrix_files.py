"""Files of matrices between tasks, in long form: a row an entry."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from modelgif.experiment.sealed_csv import read_sealed_csv, write_sealed_csv

# In the folder of a run, and the columns of each: whose matrix, row, column, entry.
DISTANCES = "distances.csv"
AFFINITIES = "affinity.csv"
COLUMNS = {
    DISTANCES: ("method", "a", "b", "distance"),
    AFFINITIES: ("truth", "source", "target", "affinity"),
}


def write_matrices(
    folder: str | os.PathLike[str],
    name: str,
    matrices: Mapping[str, np.ndarray],
    tasks: Sequence[str],
) -> None:
    """Writes named matrices ``[M, M]`` between tasks to one of the files of `COLUMNS` in `folder`.

    Numbers read back exactly.
    """
    rows = [
        (owner, a, b, float(matrix[i, j]))
        for owner, matrix in matrices.items()
        for i, a in enumerate(tasks)
        for j, b in enumerate(tasks)
    ]
    frame = pd.DataFrame(rows, columns=pd.Index(COLUMNS[name]))
    write_sealed_csv(os.path.join(folder, name), frame)


def read_matrices(
    folder: str | os.PathLike[str], name: str, tasks: Sequence[str]
) -> dict[str, np.ndarray]:
    """Returns the matrices in one of the files of `COLUMNS`, ``[M, M]`` in the order of `tasks`.

    Raises:
        modelgif.experiment.sealed_csv.SealError: for a file that is not the one that was written.
        ValueError: when an entry is missing, or there twice.
    """
    path = os.path.join(folder, name)
    owner, row, column, value = COLUMNS[name]
    # Python's own reading of a number is exact with every version of pandas.
    frame = read_sealed_csv(path, converters={value: float})
    found = {}
    for key, entries in frame.groupby(owner, sort=False):
        entries = entries[entries[row].isin(list(tasks)) & entries[column].isin(list(tasks))]
        pairs = set(zip(entries[row], entries[column], strict=True))
        if not len(entries) == len(pairs) == len(tasks) ** 2:
            raise ValueError(
                f"{path} must have one entry of {key} for each pair of {', '.join(tasks)}: "
                "run the stage evaluate again."
            )
        square = entries.pivot(index=row, columns=column, values=value)
        found[str(key)] = square.loc[list(tasks), list(tasks)].to_numpy(dtype=float)
    return found
