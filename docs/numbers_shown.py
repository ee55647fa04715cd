"""The tables that the pages of this folder show, made from the results in the repository."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.publish import shown_tables
from intellectual_property_protection.recipes import RECIPES
from intellectual_property_protection.score_name import main_score
from intellectual_property_protection.tables.published_distances import published_table
from intellectual_property_protection.tables.tables import by_subject, paper_table, suspect_table
from model_selection.comparisons import paper_table as selection_table
from model_unlearning.tables import final_table
from modelgif.experiment.config import load_config
from modelgif.experiment.record import read_records
from modelgif.experiment.run import conditions_text
from modelgif.methods import METHODS, Method
from modelgif.reporting.table import to_markdown
from modelgif.transferability import scores
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.evaluate import all_tables

ROOT = Path(__file__).parents[1]
PROTECTION = ROOT / "intellectual_property_protection" / "results"
UNLEARNING = ROOT / "model_unlearning" / "results" / "small"
RELATEDNESS = ROOT / "task_relatedness" / "results" / "small"
SELECTION = ROOT / "model_selection" / "results" / "small" / "seed0"


def tables() -> dict[str, dict[str, str]]:
    """Returns every table as Markdown, by page and section."""
    protection = PROTECTION / "small" / "seed0"
    config = load_config(IPPConfig, protection / "config.yaml")
    relatedness = all_tables(
        load_config(TaskRelatednessConfig, RELATEDNESS / "config.yaml"),
        read_records(RELATEDNESS / "records.csv"),
    )
    unlearning = final_table(read_records(UNLEARNING / "records.csv"))
    demo = PROTECTION / "demo" / "seed0"
    return {
        "README.md": {
            "suspects": to_markdown(suspects(demo), digits=2),
            "conditions": conditions_text(json.loads((demo / "run.json").read_text("utf-8")), 0),
        },
        "docs/reproducing.md": {
            "protection": to_markdown(
                paper_table(config, read_records(protection / "records.csv")), digits=2
            ),
            "authors": to_markdown(published_table(), digits=2),
            "unlearning": to_markdown(unlearning, digits=3),
            "selection": to_markdown(
                selection_table(read_records(SELECTION / "records.csv")), digits=2
            ),
            "relatedness": to_markdown(relatedness["papers"], digits=2),
            "runs": to_markdown(runs()),
        },
        "intellectual_property_protection/README.md": {"recipes": to_markdown(recipes())}
        | _on(
            "intellectual_property_protection/README.md",
            shown_tables("demo", 0)
            | {f"small {name}": table for name, table in shown_tables("small", 1).items()},
        ),
        "docs/methods.md": {"methods": to_markdown(rivals())},
        "docs/what_a_distance_means.md": {
            "demo": to_markdown(by_making("demo"), digits=2),
            "small": to_markdown(by_making("small"), digits=2),
            "unlearning": to_markdown(unlearning[["model", "forgotten images"]], digits=3),
        },
        "docs/transferability.md": {"scores": to_markdown(transferability_scores())},
    }


def suspects(results: Path) -> pd.DataFrame:
    """Returns a run's suspects by how they were made, one row per recipe, nearest first.

    Distances and p-values are those of the nearest and of the farthest of them; verdicts are
    counted.
    """
    config = load_config(IPPConfig, results / "config.yaml")
    roster = pd.read_csv(results / "roster.csv")
    table = suspect_table(config, roster, read_records(results / "records.csv"))
    rows = [
        {
            "suspects made by": made_by,
            "models": len(of_recipe),
            "field distance": _range(of_recipe["field distance"]),
            "label disagreement": _range(of_recipe["label disagreement"]),
            "p-value": _range(of_recipe["p-value"]),
            "verdict": ", ".join(
                f"{count} {verdict}"
                for verdict, count in of_recipe["verdict"].value_counts().items()
            ),
            "p-value (Holm)": _range(of_recipe["p-value (Holm)"]),
        }
        for made_by, of_recipe in table.groupby("made by")
    ]
    nearest = table.groupby("made by")["field distance"].min()
    return pd.DataFrame(sorted(rows, key=lambda row: nearest[row["suspects made by"]]))


def _range(values: pd.Series) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low}–{high}"


def _on(page: str, sections: Mapping[str, str]) -> dict[str, str]:
    """Those of `sections` that a page has."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return {name: table for name, table in sections.items() if f"<!-- begin {name} -->" in text}


def runs() -> pd.DataFrame:
    """Returns the conditions of the results in the repository, one row per run."""
    rows = []
    for path in sorted(ROOT.glob("*/results/**/run.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        machine = known["machine"]
        seconds = sum(stage["seconds"] for stage in known["stages"].values())
        records = pd.read_csv(path.with_name("records.csv"), usecols=["seed"])
        rows.append(
            {
                "testbed": known["testbed"].replace("_", " "),
                "configuration": f"`{known['config']}`",
                "seed": int(records["seed"].iloc[0]),
                "commit": f"`{known['commit']}`",
                "on": machine["cuda"] or f"{machine['cores']} {machine['processor']} cores",
                "minutes": f"{seconds / 60:.0f}",
            }
        )
    return pd.DataFrame(rows)


def rivals() -> pd.DataFrame:
    """Returns what every rival method declares, one row per method."""
    rows = [
        {
            "method": f"`{method.name}`",
            "what is compared": method.compares,
            "access": method.access,
            "per reference or set": "per reference" if method.is_per_reference else "set",
            "symmetric": "yes" if method.symmetric else "no",
            "needs": ", ".join(_needs(method)) or "–",
            "range": f"{method.bounds[0]:g} to {method.bounds[1]:.3g}".replace("inf", "∞")
            + (", higher is nearer" if method.nearer == "higher" else ""),
            "source": method.source,
        }
        for method in METHODS.values()
    ]
    return pd.DataFrame(rows)


def _needs(method: Method) -> Iterator[str]:
    if method.same_classes:
        yield "the same classes"
    if method.same_architecture:
        yield "the same architecture"
    if method.prepare is not None:
        yield "references made from the victim"
    if method.uses_baseline:
        yield "a baseline"


def recipes() -> pd.DataFrame:
    """Returns what every recipe of the testbed of protection declares, one row per recipe."""
    rows = [
        {
            "recipe": f"`{recipe.name}`",
            "models are": recipe.does,
            "weights start": {"random": "at random", "parent": "as the parent's"}.get(
                recipe.start, f"as the {recipe.start}"
            ),
            "trained layers": recipe.layers or "not known",
            "learns": recipe.targets,
            "settings": " ".join(f"`recipes.{name}`" for name in recipe.all_settings),
            "needs": "`ratios`" if recipe.needs_ratio else "–",
        }
        for recipe in sorted(RECIPES.values(), key=lambda recipe: recipe.has_parent)
    ]
    return pd.DataFrame(rows)


def by_making(name: str) -> pd.DataFrame:
    """Returns how far models are from the victim, by how they were made, all seeds of a run.

    One row per recipe and architecture, the victim's or another: the smallest, the median and the
    largest distance, and the median label disagreement.
    """
    frames = []
    for folder in sorted((PROTECTION / name).glob("seed*")):
        config = load_config(IPPConfig, folder / "config.yaml")
        records = read_records(folder / "records.csv")
        roster = pd.read_csv(folder / "roster.csv", keep_default_na=False)
        fields = by_subject(
            records, "distance_to_victim", str(main_score(config.references, config.evaluation))
        )
        labels = by_subject(records, "distance_to_victim", f"labels@{config.references.sources[0]}")
        victim = roster.loc[roster["role"] == "victim", "architecture"].iloc[0]
        own = roster[(roster["role"] != "victim") & (roster["role"] != "surrogate")]
        frames.append(
            pd.DataFrame(
                {
                    "made by": [_words(row) for row in own.to_dict("records")],
                    "architecture": [
                        "the victim's"
                        if a.split("&num_")[0] == victim.split("&num_")[0]
                        else "another"
                        for a in own["architecture"]
                    ],
                    "field": [fields[model] for model in own["model"]],
                    "labels": [labels.get(model) for model in own["model"]],
                }
            )
        )
    groups = pd.concat(frames).groupby(["made by", "architecture"])
    table = groups["field"].agg(["size", "min", "median", "max"])
    table["labels"] = groups["labels"].median()
    table.columns = ["models", "min", "median", "max", "label disagreement, median"]
    return table.sort_values("median").reset_index()


def _words(row: dict[str, str]) -> str:
    if row["role"] == "independent" or not RECIPES[row["recipe"]].has_parent:
        if row["data"] == "victim":
            return "independent, on the victim's data"
        return "independent" if row["label_set"] == "source" else "independent, other labels"
    return row["recipe"].replace("_", " ")


def transferability_scores() -> pd.DataFrame:
    """Returns what every transferability score declares, one row per score."""
    rows = [
        {
            "score": f"`{score.name}`",
            "what is measured": score.measures,
            "needs": score.needs,
            "draws": "seeded" if score.is_seeded else "none",
            "invariant to": ", ".join(sorted(score.invariances)) or "–",
            "saturates at": "–" if score.saturates_at is None else f"{score.saturates_at:g}",
            "summed over the models": "no" if score.parts is None else ", ".join(score.parts.signs),
            "source": score.source,
        }
        for score in scores().values()
    ]
    return pd.DataFrame(rows)
