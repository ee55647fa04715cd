"""Fills what pages show of results; nothing of it is written by hand.

python docs/fill.py                  # tables, from the results in the repository: seconds
python docs/fill.py outputs RUNS     # outputs of commands: minutes; RUNS has the demo's zoo
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from docs.blocks import ROOT, blocks, run_blocks, workshop
from docs.numbers_shown import tables
from modelgif.experiment.table import replace_section

# With sections of commands' outputs.
SHOWING = (
    *("README.md", "docs/walk.md", "docs/what_a_distance_means.md"),
    *("docs/field_format.md", "docs/add_a_testbed.md"),
)


def outputs(runs: Path) -> dict[str, dict[str, str]]:
    """Returns what the commands of each page print, by page and section."""
    found: dict[str, dict[str, str]] = {}
    for page in SHOWING:
        run = [block for block in blocks(ROOT / page) if not block.not_run]
        with tempfile.TemporaryDirectory() as folder:
            copy = workshop(Path(folder) / "copy")
            (copy / "runs").symlink_to(runs.resolve())
            printed = run_blocks(run, copy)
        found[page] = {
            block.output: f"```text\n{text.strip()}\n```"
            for block, text in zip(run, printed, strict=True)
            if block.output
        }
    return found


def fill(sections: Mapping[str, Mapping[str, str]]) -> None:
    """Puts texts into the sections of pages."""
    for page, texts in sections.items():
        for name, text in texts.items():
            replace_section(ROOT / page, name, text)


if __name__ == "__main__":
    fill(outputs(Path(sys.argv[2])) if sys.argv[1:2] == ["outputs"] else tables())
