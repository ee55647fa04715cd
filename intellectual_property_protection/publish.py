"""Puts a finished run's tables and pictures where the READMEs show them.

Run after the stages: ``python -m intellectual_property_protection.publish configs/demo.yaml``.
"""

import shutil
from pathlib import Path

import pandas as pd

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.tables import attack_table, suspect_table, verdict_table
from modelgif.experiment.conditions import conditions_line
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.table import replace_section, to_markdown

HERE = Path(__file__).parent
PICTURES = ("distances", "similarity_tree", "heat_map")


def publish(run: Run[IPPConfig]) -> None:
    """Copies records and pictures, and fills the tables of both READMEs.

    Records are kept by seed, and the table of verdicts counts those of all seeds; every other table
    is that of this run.
    """
    seeds = HERE / "results" / run.name
    results = seeds / f"seed{run.config.seed}"
    results.mkdir(parents=True, exist_ok=True)
    for name in ("records.csv", "run.json", "config.yaml", "zoo/roster.csv"):
        shutil.copyfile(run.folder / name, results / Path(name).name)
    for picture in PICTURES:
        shutil.copyfile(
            run.folder / "figures" / f"{picture}.png",
            HERE.parent / "assets" / f"{run.name}_{picture}.png",
        )
    by_seed = {
        folder: suspect_table(
            pd.read_csv(folder / "roster.csv"),
            read_records(folder / "records.csv"),
            level=run.config.level,
        )
        for folder in sorted(seeds.glob("seed*"))
    }
    suspects = to_markdown(by_seed[results], digits=3)
    for readme in (HERE.parent / "README.md", HERE / "README.md"):
        replace_section(readme, "suspects", suspects)
        replace_section(readme, "conditions", conditions_line(run))
    attacks = attack_table(read_records(results / "records.csv"))
    replace_section(HERE / "README.md", "attacks", to_markdown(attacks, digits=2))
    verdicts = to_markdown(verdict_table(list(by_seed.values())))
    replace_section(HERE / "README.md", "verdicts", verdicts)


if __name__ == "__main__":
    run_stage(publish, IPPConfig, testbed="intellectual_property_protection", makes_results=False)
