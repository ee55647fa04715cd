"""Tries wrappers of stolen models: is the verdict still that they were derived?

    PYTHONPATH=. python benchmarks/wrappers.py [--zoo RUN_FOLDER ...]

prints one table, writes `benchmarks/results/wrappers.csv` and the table of docs/security.md. In
each zoo of the testbed intellectual_property_protection (by default the demo's, which is trained
first when it is missing), the victim and the first independent ResNet are wrapped in every way of
`wrapped_models`, and judged as `modelgif verdict` would, among the honest models of their
architecture: with all lines of evidence, the victim's start being its own, and by field and labels
alone, as where a thief retrained from another start. One row more judges the copy with permuted
units among copies of two independent models.
"""

import argparse
import re
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from measuring import Row, Table, results
from torch import nn
from trained_zoo import Zoo, open_zoo
from wrapped_models import wrappers

from modelgif.distances.pairs import ZeroCellWarning
from modelgif.lineage import aligned_similarity
from modelgif.loading.load import load_model
from modelgif.references.references import References, cutmix
from modelgif.reporting.table import replace_section, to_markdown
from modelgif.trial.hold import hold_trial
from modelgif.trial.trial import Trial
from modelgif.verdict import verdicts

SECURITY = Path(__file__).parents[1] / "docs" / "security.md"
PERMUTED = "units permuted"


def by_function(trial: Trial, name: str) -> str:
    """The decision on a suspect by what is left of field and labels, as if origins were unknown."""
    methods = {"field": trial.field_distances, "labels": trial.labels.get}
    used = {m: give for m, give in methods.items() if give(name) is not None}
    known = [i for i in trial.independents if all(give(i) is not None for give in used.values())]
    # One alone has no spread to judge a distance by.
    if not used or len(known) < 2:
        return "undecided"

    def scores(names: list[str]) -> dict[str, np.ndarray]:
        return {
            method: np.stack([np.asarray(give(n), dtype=float) for n in names])
            for method, give in used.items()
        }

    (one,) = verdicts(
        [name],
        scores([name]),
        scores(known),
        n_bootstrap=200,
        generator=torch.Generator().manual_seed(0),
    )
    return one.decision


def noticed(trial: Trial, name: str) -> str:
    """The first clause of each note on a suspect; empty where there is none."""
    found = trial.examined[name]
    own = [note for j in trial.judgements if j.suspect == name for note in j.notes]
    own += [n.removeprefix(f"{name}: ") for n in trial.notes if n.startswith(f"{name}: ")]
    # That a line is asked without a field follows from the reason for it.
    own = [note for note in own if not note.startswith("Without ")]
    clauses = [re.split(r"[:;.,](?= |$)", note)[0] for note in [found.failure, *own] if note]
    # Counts of cells differ between victims.
    return "; ".join(dict.fromkeys(re.sub(r"^\d+ of \d+ cells", "cells", c) for c in clauses))


def judged(
    victim: nn.Module,
    suspects: dict[str, nn.Module],
    independents: dict[str, nn.Module],
    **options: object,
) -> Iterator[Row]:
    """What a trial says of each suspect."""
    # Fields are computed only if some suspect can be compared with independents; one that shares
    # the victim's origin cannot, so that an independent model goes with them.
    (name, other), *others = independents.items()
    trial = hold_trial(
        ("victim", victim),
        {**suspects, name: other},
        dict(others),
        own_initialisation=True,
        correction="none",
        **options,  # pyright: ignore[reportArgumentType]
    )
    distances = [trial.field_distances(name) for name in trial.independents]
    nearest = min((d.mean().item() for d in distances if d is not None), default=float("nan"))
    dropped = len(others) - len(trial.independents)
    left_out = f"{dropped} of {len(others)} independent models left out" if dropped else ""
    for judgement in trial.judgements[:-1]:
        suspect, origin = judgement.suspect, judgement.origin
        field, labels = trial.field_distances(suspect), trial.labels.get(suspect)
        yield {
            "suspect": suspect,
            "n_independents": len(trial.independents),
            "n_references": len(trial.kept),
            "distance": _text(float("nan") if field is None else field.mean().item()),
            "nearest_independent": _text(nearest),
            "label_disagreement": _text(
                float("nan") if labels is None else labels.double().mean().item()
            ),
            "origin_log10_p": _text(float("nan") if origin is None else origin.log10_p),
            "noticed": "; ".join(filter(None, [noticed(trial, suspect), left_out])),
            "by_function": by_function(trial, suspect),
            "answer": judgement.answer,
        }


def rows(zoo: Zoo, n_steps: int) -> Iterator[Row]:
    """Gives one row for each wrapper of each victim of a zoo."""
    images = cutmix(zoo.references.images, generator=torch.Generator().manual_seed(0))
    references = References(images, tuple(f"cutmix/{i}" for i in range(len(images))))
    about = zoo.roster.assign(path=zoo.paths)
    untainted = about[(about["recipe"] == "scratch") & (about["role"] != "victim")]
    for architecture in about["architecture"].unique():
        honest = untainted[untainted["architecture"] == architecture]
        victim = about[(about["role"] == "victim") & (about["architecture"] == architecture)]
        if victim.empty:
            victim, honest = honest.iloc[:1], honest.iloc[1:]
        names = honest["model"].tolist()
        first, *others = (load_model(f"file:{path}") for path in [*victim["path"], *honest["path"]])
        ways = wrappers(others[0])
        wrapped = {name: wrap(first).eval() for name, (_, wrap) in ways.items()}
        judge = partial(
            judged, first, references=references, baseline=zoo.baseline, n_steps=n_steps
        )
        copies = {f"copy-{i}": others[1 + i % 2] for i in range(len(others))}
        alone = f"{PERMUTED}, copies of two independents"
        found = [
            *judge(wrapped, dict(zip(names, others, strict=True))),
            *judge({alone: wrapped[PERMUTED]}, {names[0]: others[0], **copies}),
        ]
        similar = _text(aligned_similarity(first, wrapped[PERMUTED]).similarity)
        for row in found:
            yield {
                "zoo": zoo.label,
                "victim": victim["model"].iloc[0],
                "function": ways.get(str(row["suspect"]), ("same",))[0],
                "aligned_similarity": similar if row["suspect"] == PERMUTED else "",
            } | row


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per wrapper: medians over victims, and how many of them are answered how."""

    def told(answers: pd.Series) -> str:
        counts = answers.value_counts()
        words = ("derived", "common origin", "undecided", "independent")
        return ", ".join(f"{counts[word]} {word}" for word in words if word in counts)

    def seen(notes: pd.Series) -> str:
        clauses = [clause for note in notes.fillna("") for clause in note.split("; ") if clause]
        return "; ".join(dict.fromkeys(clauses)) or "nothing"

    groups = frame.groupby("suspect", sort=False)
    return pd.DataFrame(
        {
            "wrapper": list(groups.groups),
            "field distance": groups["distance"].median().to_numpy(),
            "label disagreement": groups["label_disagreement"].median().to_numpy(),
            "origin, log10 p": groups["origin_log10_p"].median().to_numpy(),
            "noticed": groups["noticed"].agg(seen).to_numpy(),
            "by field and labels": groups["by_function"].agg(told).to_numpy(),
            "answer": groups["answer"].agg(told).to_numpy(),
        }
    )


def _text(number: float) -> str:
    return f"{number:.6g}"


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Tries wrappers of stolen models.")
    parser.add_argument("--zoo", type=Path, nargs="+", help="run folders; the demo's by default")
    parser.add_argument("--references", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=results("wrappers"))
    parser.add_argument("--no-docs", action="store_true", help="leave docs/security.md as it is")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    # Notes have them.
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
    whole = frame[~frame["noticed"].fillna("").str.contains("left out")]
    similar = frame["aligned_similarity"].dropna()
    note = (
        f"Of {len(victims)} victims of digit classifiers in {frame['zoo'].nunique()} zoo(s), each "
        f"among {whole['n_independents'].min()} honest models of its architecture or more, at "
        f"{first['n_references']} references of CutMix, level 5 %, with --own-initialisation. "
        "Distances, shares and p-values are medians over the victims; the nearest honest model is "
        f"at {whole['nearest_independent'].median():.3f}. After alignment, the copies with "
        f"permuted units have a similarity of {similar.min():.3f} or more. Commit "
        f"{first['commit']}, {first['date']}."
    )
    replace_section(SECURITY, "wrappers", f"{to_markdown(summary(frame), digits=3)}\n{note}")


if __name__ == "__main__":
    main()
