"""The files of Taskonomy's encoders, as its authors' visual-priors project publishes them.

Source: Sax et al., Learning to Navigate Using Mid-Level Visual Priors, CoRL 2019, for the files;
names and addresses are in ``results/published_files.csv``.
"""

import csv
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).parents[1] / "results" / "published_files.csv"


@cache
def published_files() -> Mapping[str, str]:
    """Returns where the encoder of each of the 17 tasks can be downloaded, by task."""
    with _TABLE.open(encoding="utf-8", newline="") as file:
        return {row["task"]: row["url"] for row in csv.DictReader(file)}


def published_file(root: Path, task: str) -> Path:
    """Returns the file of a task's encoder in `root`, under its published name."""
    return root / published_files()[task].rpartition("/")[2]


def check_published(root: Path, tasks: Collection[str]) -> None:
    """Looks for the encoders of `tasks` in `root`.

    Raises:
        FileNotFoundError: when some are missing; one message says which, where to get them and
            where to put them.
    """
    missing = [task for task in tasks if not published_file(root, task).is_file()]
    if missing:
        addresses = "\n".join(f"  {published_files()[task]}" for task in missing)
        raise FileNotFoundError(
            f"{len(missing)} of the {len(tasks)} published encoders are not in {root}. Download "
            "them and put them there under their own names, or let published.root name the folder "
            f"that has them:\n{addresses}"
        )
