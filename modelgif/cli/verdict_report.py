"""The report of verdicts: the evidence in one HTML page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from modelgif.cli.options import Settings
from modelgif.experiment.record import machine
from modelgif.fields.gradient_field import gradient_field
from modelgif.reporting.evidence import evidence
from modelgif.reporting.figure import distributions, heat_map, similarity_tree
from modelgif.reporting.report import Report, Section
from modelgif.storage.versions import versions
from modelgif.trial.trial import Judgement, Trial
from modelgif.verdict.evidence import power_of_ten

# How many references are shown where suspect and victim agree most, and where they agree least.
_N_SHOWN = 4


def verdict_report(
    trial: Trial,
    addresses: Mapping[str, str],
    settings: Settings,
    notes: Sequence[str],
    command: str,
) -> Report:
    """Returns the report of a trial: answers, lines of evidence, layers, distributions, pixels.

    Args:
        trial: what was found.
        addresses: the models' addresses, by name.
        settings: the settings of the descriptions.
        notes: what a reader must also know.
        command: the command that repeats it.
    """
    suspects = [judgement.suspect for judgement in trial.judgements]
    sections = [
        Section(
            "Verdicts",
            table=pd.DataFrame(
                {"suspect": j.suspect, "verdict": j.answer, "would settle it": j.would_settle}
                for j in trial.judgements
            ),
        )
    ]
    for judgement in trial.judgements:
        sections += _of_suspect(judgement)
    sections += _changes(trial)
    sections += _fields(trial, suspects, addresses, settings)
    return Report(
        question=f"Was {' or '.join(suspects)} made from {trial.victim}?",
        answer=" ".join(f"{j.suspect}: {j.answer}, because {j.because}" for j in trial.judgements),
        sections=sections,
        conditions=_conditions(trial, settings),
        repeat=command,
        notes=notes,
    )


def _of_suspect(judgement: Judgement) -> Iterator[Section]:
    yield Section(
        f"Lines of evidence on {judgement.suspect}",
        "A line that was not asked is no evidence of innocence.",
        table=pd.DataFrame(
            {
                "line": line.name,
                "speaks": line.finding,
                "found": line.statement,
                "p, corrected": "" if line.log10_p is None else power_of_ten(line.log10_p),
                "can show": line.shows,
                "cannot show": line.cannot_show,
            }
            for line in judgement.evidence
        ),
    )
    origin = judgement.origin
    if origin is not None:
        yield Section(
            f"Hidden units of {judgement.suspect}",
            "The units of each hidden layer, matched to the victim's by their weights. A diagonal "
            "shows a common origin; of networks with starts of their own, the matching is noise.",
            table=pd.DataFrame(origin.table()),
            figure=origin.plot(),
            caption="Unit of the suspect against the unit of the victim that it is matched to",
        )


def _changes(trial: Trial) -> Iterator[Section]:
    of = {
        judgement.suspect: judgement.changes.median
        for judgement in trial.judgements
        if judgement.changes is not None
    }
    if of:
        honest = [
            trial.changes[name].median for name in trial.independents if name in trial.changes
        ]
        yield Section(
            f"Changes from {trial.ancestor}",
            "The cosine of the changes from the public ancestor, median over layers: near 1 for a "
            "model that went the victim's way before its own.",
            figure=distributions(
                {f"suspect {name}": [value] for name, value in of.items()}
                | ({"independent": honest} if honest else {}),
                quantity="Cosine of the changes with the victim's",
            ),
            caption="Cosine of the changes from the ancestor with the victim's",
        )


def _fields(
    trial: Trial, suspects: Sequence[str], addresses: Mapping[str, str], settings: Settings
) -> Iterator[Section]:
    if trial.fields is None:
        return
    names = trial.fields.names
    groups = [
        "victim" if name == trial.victim else "suspect" if name in suspects else "independent"
        for name in names
    ]
    shown = [name for name in suspects if name in names]
    architectures = {name: trial.examined[name].architecture for name in names}
    honest = [name for name in names if name in trial.independents]
    yield Section(
        "Where the suspects lie among independent models",
        "Each dot is a model; further left is nearer to the victim. A suspect is compared with "
        "independent models of its own architecture, because the architecture alone changes "
        "distances.",
        figure=distributions(
            {f"suspect {name}": _mean(trial, [name]) for name in shown}
            | {
                f"independent {architecture}": _mean(
                    trial, [name for name in honest if architectures[name] == architecture]
                )
                for architecture in dict.fromkeys(architectures[name] for name in honest)
            }
        ),
        caption="Distance of gradient fields to the victim",
    )
    matrix = trial.fields.matrix.numpy()
    if len(names) > 2:
        yield Section(
            "Similarity of all models",
            figure=similarity_tree(matrix, names, groups=groups),
            caption="Models that join further right are more similar",
        )
    yield Section(
        "All distances",
        figure=heat_map(matrix, names, groups=groups),
        caption="Distance of gradient fields, every pair",
    )
    if not shown:
        return
    nearest = min(shown, key=lambda name: _mean(trial, [name])[0])
    rows = _most_and_least(trial, nearest)
    kept = trial.kept
    distances = trial.field_distances(nearest)
    assert distances is not None
    yield Section(
        f"Pixels that {nearest} and the victim rely on",
        "The references at which the two agree most, then those at which they agree least. Red "
        "pixels support the class that the model predicts, blue pixels oppose it.",
        figure=evidence(
            kept.images[rows],
            {
                name: _relevance(addresses[name], rows, trial, settings)
                for name in (trial.victim, nearest)
            },
            [f"{distances[row]:.2f}" for row in rows],
        ),
        caption="Integrated gradients; above each reference the distance at it",
    )


def _mean(trial: Trial, names: Sequence[str]) -> list[float]:
    found = [trial.field_distances(name) for name in names]
    return [row.mean().item() for row in found if row is not None]


def _most_and_least(trial: Trial, name: str) -> list[int]:
    distances = trial.field_distances(name)
    assert distances is not None
    order = distances.argsort().tolist()
    n_shown = min(_N_SHOWN, len(order) // 2)
    return [*order[:n_shown], *order[len(order) - n_shown :]] if n_shown else order


def _relevance(address: str, rows: Sequence[int], trial: Trial, settings: Settings) -> torch.Tensor:
    options = settings.field_options(trial.references)
    field = gradient_field(settings.load(address), trial.kept.images[list(rows)], **options)
    return field[:, -1].cpu()


def _conditions(trial: Trial, settings: Settings) -> dict[str, Any]:
    return {
        "references": f"{len(trial.kept)} of {settings.references}, "
        f"SHA-256 {trial.kept.sha256()[:16]}",
        "pixels": " × ".join(map(str, trial.references.images.shape[1:])),
        "target": settings.target,
        "path": f"{settings.steps} Gauss–Legendre steps from {settings.baseline}",
        "precision": settings.precision,
        "seed": settings.seed,
        "victim's random start": trial.start,
        **{f"version of {name}": version for name, version in versions().items()},
        **{name: value for name, value in machine().items() if value is not None},
    }
