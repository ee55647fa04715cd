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
from modelgif.reporting.table import replace_section

# With sections of commands' outputs.
SHOWING = (
    *("README.md", "docs/walk.md", "docs/what_a_distance_means.md"),
    *("docs/field_format.md", "docs/add_a_testbed.md", "docs/extend.md"),
    *("docs/lineage.md", "docs/transferability.md"),
)


def outputs(page: str, runs: Path) -> dict[str, str]:
    """Returns what the commands of a page print, by section."""
    run = [block for block in blocks(ROOT / page) if not block.not_run]
    with tempfile.TemporaryDirectory() as folder:
        copy = workshop(Path(folder) / "copy")
        (copy / "runs").mkdir()
        for testbed in runs.iterdir():
            (copy / "runs" / testbed.name).symlink_to(testbed.resolve())
        printed = run_blocks(run, copy)
    return {
        block.output: f"```text\n{text.strip()}\n```"
        for block, text in zip(run, printed, strict=True)
        if block.output
    }


def fill(page: str, sections: Mapping[str, str]) -> None:
    """Puts texts into the sections of a page."""
    for name, text in sections.items():
        replace_section(ROOT / page, name, text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["outputs"]:
        for name in sys.argv[3:] or SHOWING:
            fill(name, outputs(name, Path(sys.argv[2])))
    else:
        for name, found in tables().items():
            fill(name, found)
