"""Measures what cheaper settings cost: errors of distances, and how well attacks are told apart.

    PYTHONPATH=. python benchmarks/knobs.py --zoo FOLDER [FOLDER]

prints one table, writes `benchmarks/results/knobs.csv`, and fills the tables of `docs/choosing.md`.
The zoos are those of finished runs of intellectual_property_protection, by default the demo's
alone. One setting at a time differs from the paper's: Gauss–Legendre, 50 steps, float32, all
references. The error is that of distances to the victim. AUC is the chance that a derived model is
nearer to the victim than an honest one; once over all models, and once over those of the victim's
architecture. Seconds are for the fields of all models, and in proportion with fewer references.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from measuring import Table, results
from torch import Tensor
from trained_zoo import Zoo, open_zoo

from modelgif.distances.cells import distances_of_cells, finite_cells
from modelgif.fields.acceleration import Acceleration, accelerate
from modelgif.fields.gradient_field import gradient_field
from modelgif.fields.quadrature import Rule
from modelgif.loading.load import load_model
from modelgif.ranking import auc
from modelgif.reporting.table import replace_section, to_markdown

STEPS = (50, 30, 20, 10, 4)
REFERENCES = (64, 32, 16, 8)
SUBSETS = 50
DOCUMENT = Path(__file__).parents[1] / "docs" / "choosing.md"


@dataclass(frozen=True)
class Setting:
    """How fields are computed; the defaults are the paper's."""

    n_steps: int = 50
    rule: Rule = "gausslegendre"
    precision: str = "float32"


SETTINGS = (
    *(Setting(n_steps=n) for n in STEPS),
    *(Setting(n_steps=n, rule="gaussradau") for n in (50, 10, 4)),
    *(Setting(n_steps=n, rule="riemann_middle") for n in (50, 10, 4)),
    Setting(precision="float64"),
    Setting(precision="bfloat16 autocast"),
)


def distances(zoo: Zoo, setting: Setting) -> tuple[Tensor, float]:
    """Returns the distances of all models from the first at each reference ``[M, N]``; seconds."""
    dtype = torch.float64 if setting.precision == "float64" else torch.float32
    found, seconds, origin = [], 0.0, None
    for path in zoo.paths:
        model = load_model(f"file:{path}")
        if setting.precision == "bfloat16 autocast":
            model, _ = accelerate(
                model, zoo.references.images[:2], Acceleration(autocast="bfloat16")
            )
        start = time.perf_counter()
        field = gradient_field(
            model,
            zoo.references.images,
            baseline=zoo.baseline,
            n_steps=setting.n_steps,
            rule=setting.rule,
            dtype=dtype,
        )
        seconds += time.perf_counter() - start
        cells = finite_cells(field, path.stem, 0)
        origin = cells if origin is None else origin
        found.append(distances_of_cells(cells, origin, "cosine"))
    return torch.stack(found).double(), seconds


def row(zoo: Zoo, setting: Setting, count: int, draws: list[Tensor], exact: Tensor) -> dict:
    """What one setting gives: means over `draws` ``[M]``, one for each choice of references."""
    roster = zoo.roster
    derived = torch.tensor(((roster["role"] == "suspect") & (roster["recipe"] != "scratch")).values)
    honest = torch.tensor((roster["recipe"] == "scratch").values)
    honest[0] = False
    own = torch.tensor((roster["architecture"] == roster["architecture"][0]).values)
    errors = torch.stack([(found - exact)[1:].abs() for found in draws])

    def told_apart(which: Tensor) -> float:
        scores = [
            auc(found[derived & which].numpy(), found[honest & which].numpy()) for found in draws
        ]
        return sum(scores) / len(scores)

    return {
        "zoo": zoo.label,
        "steps": setting.n_steps,
        "references": count,
        "rule": setting.rule,
        "precision": setting.precision,
        "mean_error": f"{errors.mean():.5f}",
        "largest_error": f"{errors.max():.5f}",
        "auc": f"{told_apart(torch.ones_like(own)):.3f}",
        "auc_own_architecture": f"{told_apart(own):.3f}",
    }


def measure(zoo: Zoo, seed: int = 0) -> list[dict[str, str | int]]:
    """Returns a row for each setting."""
    exact, rows = torch.empty(0), []
    for setting in SETTINGS:
        found, seconds = distances(zoo, setting)
        if setting == Setting():
            exact = found
        n = found.shape[1]
        about = row(zoo, setting, n, [found.mean(1)], exact.mean(1))
        rows.append(about | {"seconds": f"{seconds:.1f}"})
        if setting == Setting():
            generator = torch.Generator().manual_seed(seed)
            for count in (c for c in REFERENCES if c < n):
                chosen = [torch.randperm(n, generator=generator)[:count] for _ in range(SUBSETS)]
                draws = [exact[:, rows_].mean(1) for rows_ in chosen]
                about = row(zoo, setting, count, draws, exact.mean(1))
                rows.append(about | {"seconds": f"{seconds * count / n:.1f}"})
    return rows


def thinned(zoo: Zoo, models: int) -> Zoo:
    """The zoo with its victim, and others taken evenly from each kind."""
    keep = (zoo.roster["role"] != "surrogate") & (
        (zoo.roster["role"] == "suspect") | (zoo.roster["recipe"] == "scratch")
    )
    order = zoo.roster[keep].index
    every = max(1, round(len(order) / models))
    chosen = [order[0], *order[1::every]]
    paths = [zoo.paths[i] for i in chosen]
    roster = zoo.roster.loc[chosen].reset_index(drop=True)
    return Zoo(zoo.label, roster, paths, zoo.references, zoo.baseline)


def main() -> None:
    """Measures, prints, writes, and fills the documentation's tables."""
    parser = argparse.ArgumentParser(description="Measures cheaper settings.")
    parser.add_argument(
        "--zoo", type=Path, nargs="*", help="folders of runs; the demo's by default"
    )
    parser.add_argument("--models", type=int, default=32, help="at most about as many of each zoo")
    parser.add_argument("--references", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=results("knobs"))
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    table = Table(options.output)
    for folder in options.zoo or [None]:
        zoo = thinned(open_zoo(folder, references=options.references), options.models)
        rows = measure(zoo)
        for one in rows:
            table.add(one | {"models": len(zoo.paths)})
        frame = pd.DataFrame(rows).drop(columns="zoo")
        name = zoo.label.partition("-")[0]
        replace_section(options.document, name, to_markdown(frame))


if __name__ == "__main__":
    main()
