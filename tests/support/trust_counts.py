"""The counts of what was tried and what held, and the table of them in docs/security.md."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from modelgif.experiment.run import commit
from modelgif.reporting.table import replace_section, to_markdown, write_csv
from tests.support.corruption import KINDS, flips
from tests.support.hostile_files import hostile_files

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS = ["kind", "subject", "tried", "held", "commit", "date"]


def write_counts(
    counts: dict[str, dict[str, tuple[int, int]]], *, folder: Path = DOCS
) -> pd.DataFrame:
    """Replaces the rows of some kinds in ``trust_counts.csv``, and the table in ``security.md``.

    Args:
        counts: by kind, such as "kills survived", and by subject: how many were tried, and how many
            held.
        folder: of both files.

    Returns:
        All rows.
    """
    path = folder / "trust_counts.csv"
    old = pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame(columns=pd.Index(COLUMNS))
    conditions = [commit(), datetime.now(UTC).date().isoformat()]
    rows = [
        [kind, subject, *pair, *conditions]
        for kind, by_subject in counts.items()
        for subject, pair in by_subject.items()
    ]
    new = pd.DataFrame(rows, columns=pd.Index(COLUMNS)).astype(str)
    frame = pd.concat([old[~old["kind"].isin(counts)], new]).sort_values(["kind", "subject"])
    write_csv(path, frame.reset_index(drop=True))
    replace_section(folder / "security.md", "counts", _table(frame))
    return frame


def refusals(folder: Path) -> dict[str, tuple[int, int]]:
    """Reads every hostile file, in a process of its own: by reader, files and refusals of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.hostile_files", str(folder)],
        cwd=DOCS.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    refused = {row["name"]: "ValueError" in (row["error"] or ()) and not row["ran"] for row in rows}
    return counted((hostile.reader, refused[hostile.name]) for hostile in hostile_files())


def flips_held(folder: Path) -> dict[str, tuple[int, int]]:
    """Damages every byte of every kind of file once: by kind, flips and those seen or harmless."""
    return counted(
        (name, flip.held)
        for name, kind in KINDS.items()
        for flip in flips(folder / name, kind, None)
    )


def counted(trials: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    """How often each subject was tried, and how often it held."""
    trials = list(trials)
    tried, held = (
        Counter(name for name, _ in trials),
        Counter(name for name, held in trials if held),
    )
    return {name: (tried[name], held[name]) for name in tried}


def _table(frame: pd.DataFrame) -> str:
    """One row a kind and the word that its subjects begin with, and when each was counted."""
    what = frame["subject"].str.partition(",")[0].rename("what")
    numbers = frame.assign(tried=frame["tried"].astype(int), held=frame["held"].astype(int))
    summed = numbers.groupby(["kind", what], sort=True)[["tried", "held"]].sum().reset_index()
    stated = frame.groupby("kind")[["commit", "date"]].last().itertuples()
    lines = [f"{kind}: commit `{commit}`, {date}" for kind, commit, date in stated]
    return f"{to_markdown(summed)}\n*{'; '.join(lines)}.*\n"
