"""Tries wrappers of stolen models: is the verdict still that they were derived?

    PYTHONPATH=. python benchmarks/wrappers.py [--zoo RUN_FOLDER ...]

prints one table, writes `benchmarks/results/wrappers.csv` and the table of docs/security.md. In
each zoo of the testbed intellectual_property_protection (by default the demo's, which is trained
first when it is missing), the victim and the first independent ResNet are wrapped in every way of
`wrapped_models`, and judged as `modelgif verdict` would: by fields, by labels and by both, at
references of CutMix, among the honest models of their architecture.
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measuring import Row, Table, results
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from trained_zoo import Zoo, open_zoo
from wrapped_models import wrappers

from modelgif.distances.cells import is_zero
from modelgif.distances.distance import ZeroCellWarning, distance_per_reference
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.load import load_model
from modelgif.methods import label_agreement
from modelgif.references.references import cutmix
from modelgif.reporting.table import replace_section, to_markdown
from modelgif.verdict import verdicts

SECURITY = Path(__file__).parents[1] / "docs" / "security.md"
# As in `modelgif verdict`: a field with more zero cells describes nothing.
MOST_ZERO = 0.5


@dataclass(frozen=True)
class Described:
    """A model at the references: its fields of two targets, its labels."""

    field: Tensor
    sums: Tensor
    labels: Tensor

    @property
    def zero_cells(self) -> float:
        """The share of its cells that are zero."""
        return is_zero(self.field.flatten(2)).double().mean().item()


def describe(model: nn.Module, images: Tensor, baseline: Tensor, n_steps: int) -> Described:
    """Returns a model as it is at the references."""
    field, sums = (
        gradient_field(model, images, target=target, baseline=baseline, n_steps=n_steps)
        for target in ("predicted_class", "output_sum")
    )
    return Described(field, sums, label_agreement.describe(model, images))


def by_field(victim: Described, other: Described) -> np.ndarray:
    """The distance at each reference, or NaN where the field describes nothing."""
    found = distance_per_reference(victim.field, other.field).numpy()
    return found if other.zero_cells <= MOST_ZERO else np.full_like(found, np.nan)


def unlike_after_matching(a: Tensor, b: Tensor) -> float:
    """The label disagreement, once each class of `b` is matched with the best one of `a`."""
    count = int(max(a.max(), b.max())) + 1
    together = np.zeros((count, count))
    np.add.at(together, (a.numpy(), b.numpy()), 1)
    rows, columns = linear_sum_assignment(together, maximize=True)
    return 1 - together[rows, columns].sum() / len(a)


def by_labels(victim: Described, other: Described) -> np.ndarray:
    """Whether the labels differ at each reference."""
    return label_agreement.per_reference(victim.labels, other.labels).numpy()


WAYS = {"field": by_field, "labels": by_labels}


def judged(
    suspect: dict[str, np.ndarray], honest: dict[str, np.ndarray], methods: Sequence[str]
) -> tuple[float, str]:
    """The p-value and the verdict by some methods; NaN and "undecided" when none describes it.

    Args:
        suspect: contributions ``[N]`` by method.
        honest: likewise ``[n, N]``.
        methods: those used.
    """
    if all(np.isnan(suspect[method]).any() for method in methods):
        return float("nan"), "undecided"
    (one,) = verdicts(
        ["suspect"],
        {method: suspect[method][None] for method in methods},
        {method: honest[method] for method in methods},
        n_bootstrap=200,
        generator=torch.Generator().manual_seed(0),
    )
    return one.p_value, one.decision


def rows(zoo: Zoo, n_steps: int) -> Iterator[Row]:
    """Gives one row for each wrapper of each victim of a zoo."""
    images = cutmix(zoo.references.images, generator=torch.Generator().manual_seed(0))
    about = zoo.roster.assign(path=zoo.paths)
    untainted = about[(about["recipe"] == "scratch") & (about["role"] != "victim")]
    for architecture in about["architecture"].unique():
        honest = untainted[untainted["architecture"] == architecture]
        victim = about[(about["role"] == "victim") & (about["architecture"] == architecture)]
        if victim.empty:
            victim, honest = honest.iloc[:1], honest.iloc[1:]  # pyright: ignore[reportAttributeAccessIssue]
        models = [load_model(f"file:{path}") for path in [*victim["path"], *honest["path"]]]
        described = [describe(model, images, zoo.baseline, n_steps) for model in models]
        first, others = described[0], described[1:]
        known = {w: np.stack([way(first, o) for o in others]) for w, way in WAYS.items()}
        for name, (meant, wrap) in wrappers(models[1]).items():
            found = describe(wrap(models[0]).eval(), images, zoo.baseline, n_steps)
            own = {w: way(first, found) for w, way in WAYS.items()}
            p = {
                way: judged(own, known, way.split(" and "))
                for way in ("field", "labels", "field and labels")
            }
            yield {
                "zoo": zoo.label,
                "victim": victim["model"].iloc[0],  # pyright: ignore[reportAttributeAccessIssue]
                "n_independents": len(others),
                "n_references": len(images),
                "wrapper": name,
                "function": meant,
                "distance": _text(distance_per_reference(first.field, found.field).mean().item()),
                "nearest_independent": _text(known["field"].mean(1).min()),
                "distance_output_sum": _text(
                    distance_per_reference(first.sums, found.sums).mean().item()
                ),
                "zero_cells": _text(found.zero_cells),
                "unlike_labels": _text((first.labels != found.labels).double().mean().item()),
                "unlike_after_matching": _text(unlike_after_matching(first.labels, found.labels)),
            } | {
                f"{quantity}_{way.replace(' ', '_')}": value
                for way, (p_value, decision) in p.items()
                for quantity, value in (("p", _text(p_value)), ("verdict", decision))
            }


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each wrapper: medians over victims, and how many of them are called derived."""

    def told(verdicts: pd.Series) -> str:
        counts = verdicts.value_counts()
        words = ("derived", "undecided", "independent")
        return ", ".join(f"{counts[word]} {word}" for word in words if word in counts)

    groups = frame.groupby("wrapper", sort=False)
    return pd.DataFrame(
        {
            "wrapper": list(groups.groups),
            "distance": groups["distance"].median().to_numpy(),
            "zero cells": groups["zero_cells"].median().to_numpy(),
            "label disagreement": groups["unlike_labels"].median().to_numpy(),
            "by fields": groups["verdict_field"].agg(told).to_numpy(),
            "by labels": groups["verdict_labels"].agg(told).to_numpy(),
            "by both": groups["verdict_field_and_labels"].agg(told).to_numpy(),
        }
    )


def _text(number: float) -> str:
    return f"{number:.6g}"


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Tries wrappers of stolen models.")
    parser.add_argument("--zoo", type=Path, nargs="+", help="run folders; the demo's by default")
    parser.add_argument("--references", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=results("wrappers"))
    parser.add_argument("--no-docs", action="store_true", help="leave docs/security.md as it is")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # The table has them.
    warnings.simplefilter("ignore", ZeroCellWarning)
    table = Table(options.output)
    for folder in options.zoo or [None]:
        for row in rows(open_zoo(folder, references=options.references), options.steps):
            table.add(row)
    frame = pd.read_csv(options.output)
    print(to_markdown(summary(frame), digits=3))
    if not options.no_docs:
        publish(frame)


def publish(frame: pd.DataFrame) -> None:
    """Puts the table and its conditions into docs/security.md."""
    first, victims = frame.iloc[0], frame[["zoo", "victim"]].drop_duplicates()
    note = (
        f"Of {len(victims)} victims in {frame['zoo'].nunique()} zoos of digit classifiers, each "
        f"among {frame['n_independents'].min()} honest models of its architecture or more, at "
        f"{first['n_references']} references of CutMix; level 5 %. Distances and shares are "
        "medians over the victims; the nearest honest model is at "
        f"{frame['nearest_independent'].median():.3f}. Commit {first['commit']}, {first['date']}."
    )
    replace_section(SECURITY, "wrappers", f"{to_markdown(summary(frame), digits=3)}\n{note}")


if __name__ == "__main__":
    main()
