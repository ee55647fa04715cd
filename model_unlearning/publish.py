"""Puts a finished run's tables and pictures where the READMEs show them.

Run after the stages: ``python -m model_unlearning.publish model_unlearning/configs/small.yaml``.
"""

from pathlib import Path

from model_unlearning.config import UnlearningConfig
from model_unlearning.tables import final_table, performance_table, verdict_table
from modelgif.experiment.publishing import KEPT, ROSTER, fill_page, keep_results
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, conditions_line, run_stage
from modelgif.reporting.table import to_markdown

HERE = Path(__file__).parent
PICTURES = ("distance_to_original", "distance_to_retrained", "performance")


def publish(run: Run[UnlearningConfig]) -> None:
    """Copies records and pictures, and fills the tables of the README."""
    copies = {picture: f"unlearning_{picture}" for picture in PICTURES}
    results = keep_results(run, HERE, (*KEPT, ROSTER), copies)
    records = read_records(results / "records.csv")
    tables = {
        "distances": final_table(records),
        "verdicts": verdict_table(records),
        "performance": performance_table(records),
    }
    sections = {name: to_markdown(table, digits=3) for name, table in tables.items()}
    fill_page(HERE / "README.md", sections | {"conditions": conditions_line(run)})


if __name__ == "__main__":
    run_stage(publish, UnlearningConfig, testbed="model_unlearning", makes_results=False)
