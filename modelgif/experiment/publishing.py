"""Publishing a finished run: files to a testbed's results, pictures to assets, text to pages."""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelgif.experiment.run import Run
from modelgif.reporting.table import replace_section

# What every testbed keeps of a run.
KEPT = ("records.csv", "run.json", "config.yaml")
ROSTER = "zoo/roster.csv"


def keep_results(
    run: Run[Any],
    home: Path,
    files: Iterable[str],
    pictures: Mapping[str, str],
    *,
    by_seed: bool = False,
) -> Path:
    """Copies a finished run's files and pictures into the repository, and returns where files are.

    Args:
        run: with all of its stages finished.
        home: the testbed's folder; results lie in ``results/<configuration>``, pictures in
            ``assets`` beside the testbed.
        files: paths within the run's folder; copies have the names without folders.
        pictures: the name of each copy by the name of the figure, both without ``.png``.
        by_seed: whether a configuration has one folder of results per seed.

    Raises:
        FileNotFoundError: when the run lacks a file, because a stage is not finished.
    """
    results = home / "results" / run.name
    if by_seed:
        results /= f"seed{run.config.seed}"
    results.mkdir(parents=True, exist_ok=True)
    for name in files:
        shutil.copyfile(run.folder / name, results / Path(name).name)
    for figure, copy in pictures.items():
        drawn = run.folder / "figures" / f"{figure}.png"
        shutil.copyfile(drawn, home.parent / "assets" / f"{copy}.png")
    return results


def fill_page(page: Path, sections: Mapping[str, str], *, partly: bool = False) -> None:
    """Fills the sections of a page.

    Args:
        page: a Markdown file with markers, see `modelgif.reporting.table.replace_section`.
        sections: texts by section.
        partly: whether the page may have only some of the sections.

    Raises:
        ValueError: when the page lacks a section, or, if it may have only some, when it has none.
    """
    there = set(re.findall(r"<!-- begin (.+?) -->", page.read_text(encoding="utf-8")))
    if partly and not there & set(sections):
        raise ValueError(f"{page} has no section for {', '.join(sections)}.")
    for name, text in sections.items():
        if name in there or not partly:
            replace_section(page, name, text)
