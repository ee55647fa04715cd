"""Puts a finished run's tables and pictures where the READMEs show them.

Run after the stages: ``python -m model_unlearning.publish model_unlearning/configs/small.yaml``.
"""

import shutil
from pathlib import Path

from model_unlearning.config import UnlearningConfig
from model_unlearning.tables import final_table, performance_table, verdict_table
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, conditions_line, run_stage
from modelgif.reporting.table import replace_section, to_markdown

HERE = Path(__file__).parent
PICTURES = ("distance_to_original", "distance_to_retrained", "performance")


def publish(run: Run[UnlearningConfig]) -> None:
    """Copies records and pictures, and fills the tables of the README."""
    results = HERE / "results" / run.name
    results.mkdir(parents=True, exist_ok=True)
    for name in ("records.csv", "run.json", "config.yaml", "zoo/roster.csv"):
        shutil.copyfile(run.folder / name, results / Path(name).name)
    for picture in PICTURES:
        drawn = run.folder / "figures" / f"{picture}.png"
        shutil.copyfile(drawn, HERE.parent / "assets" / f"unlearning_{picture}.png")
    records = read_records(results / "records.csv")
    readme = HERE / "README.md"
    replace_section(readme, "conditions", conditions_line(run))
    replace_section(readme, "distances", to_markdown(final_table(records), digits=3))
    replace_section(readme, "verdicts", to_markdown(verdict_table(records), digits=3))
    replace_section(readme, "performance", to_markdown(performance_table(records), digits=3))


if __name__ == "__main__":
    run_stage(publish, UnlearningConfig, testbed="model_unlearning", makes_results=False)
