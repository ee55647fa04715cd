"""The conditions of a run's numbers, in words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelgif.experiment.run import Run


def conditions_line(run: Run[Any]) -> str:
    """Returns one line of Markdown that says under which conditions a run's numbers were measured.

    Raises:
        ValueError: when no stage of the run has finished.
    """
    known = run.conditions()
    if not known["stages"]:
        raise ValueError(f"{run.folder} has no finished stage: run the stages first.")
    return conditions_text(known, run.config.seed)


def conditions_text(known: Mapping[str, Any], seed: int) -> str:
    """Returns the line of `conditions_line` for the content of a ``run.json``."""
    seconds = sum(stage["seconds"] for stage in known["stages"].values())
    days = {datetime.fromisoformat(s["finished"]).date() for s in known["stages"].values()}
    machine, versions = known["machine"], known["versions"]
    device = machine["cuda"] or f"{machine['cores']} {machine['processor']} CPU cores"
    return (
        f"*Configuration `{known['config']}`, seed {seed}, commit `{known['commit']}`, "
        f"{max(days)}, {device}, {seconds:.0f} s for all stages, torch {versions['torch']}, "
        f"Python {versions['python']}.*"
    )
