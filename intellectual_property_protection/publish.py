"""Puts a finished run's tables and pictures where the README shows them.

Run after the stages: ``python -m intellectual_property_protection.publish configs/demo.yaml``.
"""

from pathlib import Path

import pandas as pd

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.tables.published_distances import published_table
from intellectual_property_protection.tables.tables import (
    all_tables,
    confirmed_table,
    goal_table,
    suspect_table,
    verdict_table,
)
from modelgif.experiment.config import load_config
from modelgif.experiment.publishing import KEPT, ROSTER, fill_page, keep_results
from modelgif.experiment.record import read_records
from modelgif.experiment.run import Run, conditions_line, run_stage
from modelgif.reporting.table import to_markdown

HERE = Path(__file__).parent
PICTURES = ("distances", "similarity_tree", "heat_map", "curve")
# The configuration whose tables have the plain names of sections.
DEMO = "demo"


def publish(run: Run[IPPConfig]) -> None:
    """Copies records and pictures, and fills the tables of the README.

    Records are kept by seed. The table of verdicts counts those of all seeds, and the confirmed one
    compares them; every other table is that of this run. The demo's tables have the plain names of
    sections, those of another configuration begin with its name: ``small attacks``.
    """
    copies = {picture: f"{run.name}_{picture}" for picture in PICTURES}
    keep_results(run, HERE, (*KEPT, ROSTER), copies, by_seed=True)
    sections = {"conditions": conditions_line(run)} | shown_tables(run.name, run.config.seed)
    if run.name != DEMO:
        sections = {f"{run.name} {name}": text for name, text in sections.items()}
    fill_page(HERE / "README.md", sections, partly=True)


def shown_tables(name: str, seed: int) -> dict[str, str]:
    """Returns the tables of the READMEs as Markdown, by section, from the published records.

    Args:
        name: of the configuration.
        seed: of the run whose tables are shown; verdicts and the confirmed scores are of all seeds.
    """
    by_seed = {folder.name: folder for folder in sorted((HERE / "results" / name).glob("seed*"))}
    results = by_seed[f"seed{seed}"]
    config = load_config(IPPConfig, results / "config.yaml")
    of_seed = {name: read_records(folder / "records.csv") for name, folder in by_seed.items()}
    tables = all_tables(config, pd.read_csv(results / "roster.csv"), of_seed[results.name])
    suspects = [
        suspect_table(config, pd.read_csv(by_seed[name] / "roster.csv"), records)
        for name, records in of_seed.items()
    ]
    confirmed = confirmed_table({name: goal_table(records) for name, records in of_seed.items()})
    return {
        "suspects": to_markdown(tables["suspects"], digits=3),
        "attacks": to_markdown(tables["attacks"], digits=2),
        "verdicts": to_markdown(verdict_table(suspects)),
        "honest": to_markdown(tables["honest"]),
        "goal": to_markdown(tables["goal"].head(10), digits=2),
        "confirmed": to_markdown(confirmed.head(10), digits=3),
        "methods": to_markdown(plain_scores(tables["methods"]), digits=2),
        "paper": to_markdown(tables["paper"], digits=2),
        "authors": to_markdown(published_table(), digits=2),
    }


def plain_scores(methods: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of a table of methods whose references are as drawn, and combinations."""
    drawn = ["/" not in name for name in methods["score"]]
    return methods.loc[drawn].drop(columns="leaks").reset_index(drop=True)


if __name__ == "__main__":
    run_stage(publish, IPPConfig, testbed="intellectual_property_protection", makes_results=False)
