"""The counts of what was tried and what held, and the table of them in docs/security.md."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from modelgif.experiment.run import commit
from modelgif.experiment.table import replace_section, to_markdown, write_csv

DOCS = Path(__file__).parents[1] / "docs"
COLUMNS = ["kind", "subject", "tried", "held", "commit", "date"]


def write_counts(
    kind: str, counts: dict[str, tuple[int, int]], *, folder: Path = DOCS
) -> pd.DataFrame:
    """Replaces the rows of one kind in ``trust_counts.csv``, and the table in ``security.md``.

    Args:
        kind: what was tried, such as "kills survived".
        counts: by subject: how many were tried, and how many held.
        folder: of both files.

    Returns:
        All rows.
    """
    path = folder / "trust_counts.csv"
    old = pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame(columns=pd.Index(COLUMNS))
    conditions = [commit(), datetime.now(UTC).date().isoformat()]
    rows = [[kind, subject, *pair, *conditions] for subject, pair in sorted(counts.items())]
    new = pd.DataFrame(rows, columns=pd.Index(COLUMNS)).astype(str)
    frame = pd.concat([old[old["kind"] != kind], new]).sort_values(["kind", "subject"])
    write_csv(path, frame.reset_index(drop=True))
    replace_section(folder / "security.md", "counts", _table(frame))
    return frame


def _table(frame: pd.DataFrame) -> str:
    """One row for each kind and the word that its subjects begin with."""
    groups = frame["subject"].str.partition(",")[0]
    numbers = frame.assign(tried=frame["tried"].astype(int), held=frame["held"].astype(int))
    summed = numbers.groupby(["kind", groups], sort=True)[["tried", "held"]].sum().reset_index()
    stated = frame.groupby("kind")[["commit", "date"]].last().reset_index()
    return to_markdown(summed.merge(stated, on="kind"))
