"""Puts a finished run's tables and pictures where the READMEs show them.

Run after the stages: ``python -m intellectual_property_protection.publish configs/demo.yaml``.
"""

import json
import shutil
from datetime import datetime
from pathlib import Path

import pandas as pd

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.tables import attack_table, suspect_table
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.table import replace_section, to_markdown

HERE = Path(__file__).parent
PICTURES = ("distances", "similarity_tree", "heat_map")


def publish(run: Run[IPPConfig]) -> None:
    """Copies records and pictures, and fills the tables of both READMEs."""
    results = HERE / "results" / run.name
    results.mkdir(parents=True, exist_ok=True)
    for name in ("records.csv", "run.json", "config.yaml"):
        shutil.copyfile(run.folder / name, results / name)
    shutil.copyfile(run.folder / "zoo" / "roster.csv", results / "roster.csv")
    for picture in PICTURES:
        shutil.copyfile(
            run.folder / "figures" / f"{picture}.png",
            HERE.parent / "assets" / f"{run.name}_{picture}.png",
        )
    records = read_records(results / "records.csv")
    roster = pd.read_csv(results / "roster.csv")
    suspects = to_markdown(suspect_table(roster, records, level=run.config.level), digits=3)
    attacks = to_markdown(attack_table(records), digits=2)
    for readme in (HERE.parent / "README.md", HERE / "README.md"):
        replace_section(readme, "suspects", suspects)
        replace_section(readme, "conditions", conditions(run))
    replace_section(HERE / "README.md", "attacks", attacks)


def conditions(run: Run[IPPConfig]) -> str:
    """Returns one line that says under which conditions the run's numbers were measured."""
    known = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))
    seconds = sum(stage["seconds"] for stage in known["stages"].values())
    days = {datetime.fromisoformat(s["finished"]).date() for s in known["stages"].values()}
    machine, versions = known["machine"], known["versions"]
    device = machine["cuda"] or f"{machine['cores']} {machine['processor']} CPU cores"
    return (
        f"*Configuration `{run.label}`, seed {run.config.seed}, commit `{known['commit']}`, "
        f"{max(days)}, {device}, {seconds:.0f} s for all stages, torch {versions['torch']}, "
        f"Python {versions['python']}.*"
    )


if __name__ == "__main__":
    run_stage(publish, IPPConfig, testbed="intellectual_property_protection")
