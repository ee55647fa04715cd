"""The report of verdicts: the evidence in one HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from modelgif.cli.described import Described
from modelgif.cli.options import Settings
from modelgif.experiment.record import machine
from modelgif.fields.gradient_field import gradient_field
from modelgif.reporting.evidence import evidence
from modelgif.reporting.figure import distributions, heat_map, similarity_tree
from modelgif.reporting.report import Report, Section
from modelgif.storage.versions import versions
from modelgif.verdict import Verdict

# How many references are shown where suspect and victim agree most, and where they agree least.
_N_SHOWN = 4


def verdict_report(
    described: Described,
    results: Sequence[Verdict],
    addresses: dict[str, str],
    rows: Sequence[Mapping[str, Any]],
    settings: Settings,
    notes: Sequence[str],
    command: str,
) -> Report:
    """Returns the report of verdicts: table, distributions, tree, and what it looks like.

    Args:
        described: the models at the references; the victim is the first.
        results: the verdicts.
        addresses: the models' addresses, by name.
        rows: the table of verdicts, one row per suspect.
        settings: the settings of the descriptions.
        notes: what a reader must also know.
        command: the command that repeats it.
    """
    victim = described.names[0]
    suspects = [result.suspect for result in results]
    nearest = min(suspects, key=lambda name: described.field_distances(name).mean().item())
    independents = [name for name in described.names[1:] if name not in suspects]
    groups = [
        "victim" if name == victim else "suspect" if name in suspects else "independent"
        for name in described.names
    ]
    matrix = described.fields.matrix.numpy()
    shown = _most_and_least(described, nearest)
    sections = [
        Section("Verdicts", table=pd.DataFrame(rows)),
        Section(
            "Where the suspects lie among independent models",
            "Each dot is a model; further left is nearer to the victim. A suspect is compared with "
            "independent models of its own architecture, because the architecture alone changes "
            "distances.",
            figure=distributions(
                {f"suspect {name}": _mean(described, [name]) for name in suspects}
                | {
                    f"independent {architecture}": _mean(
                        described,
                        [
                            name
                            for name in independents
                            if described.architectures[name] == architecture
                        ],
                    )
                    for architecture in dict.fromkeys(
                        described.architectures[name] for name in independents
                    )
                }
            ),
            caption="Distance of gradient fields to the victim",
        ),
        Section(
            "Similarity of all models",
            figure=similarity_tree(matrix, described.names, groups=groups),
            caption="Models that join further right are more similar",
        ),
        Section(
            "All distances",
            figure=heat_map(matrix, described.names, groups=groups),
            caption="Distance of gradient fields, every pair",
        ),
        Section(
            f"Pixels that {nearest} and the victim rely on",
            "The references at which the two agree most, then those at which they agree least. Red "
            "pixels support the class that the model predicts, blue pixels oppose it.",
            figure=evidence(
                described.references.images[shown],
                {
                    name: _relevance(addresses[name], shown, described, settings)
                    for name in (victim, nearest)
                },
                [f"{described.field_distances(nearest)[row]:.2f}" for row in shown],
            ),
            caption="Integrated gradients; above each reference the distance at it",
        ),
    ]
    return Report(
        question=f"Was {' or '.join(suspects)} made from {victim}?",
        answer=" ".join(_sentence(result) for result in results),
        sections=sections,
        conditions=_conditions(described, settings),
        repeat=command,
        notes=notes,
    )


def _sentence(result: Verdict) -> str:
    grounds = (
        f"p = {result.p_value:.3g} among {result.n_independents} independent models, "
        f"adjusted {result.adjusted_p_value:.3g}, level {result.level:g}"
    )
    sentence = {
        "derived": f"{result.suspect} is nearer to it than independent models are: derived",
        "independent": f"{result.suspect} is not nearer to it than independent models are",
        "undecided": f"The evidence does not decide about {result.suspect}",
    }[result.decision]
    return f"{sentence} ({grounds})."


def _mean(described: Described, names: Sequence[str]) -> list[float]:
    return [described.field_distances(name).mean().item() for name in names]


def _most_and_least(described: Described, name: str) -> list[int]:
    order = described.field_distances(name).argsort().tolist()
    n_shown = min(_N_SHOWN, len(order) // 2)
    return [*order[:n_shown], *order[len(order) - n_shown :]] if n_shown else order


def _relevance(
    address: str, rows: Sequence[int], described: Described, settings: Settings
) -> torch.Tensor:
    options = settings.field_options(described.references)
    field = gradient_field(
        settings.load(address), described.references.images[list(rows)], **options
    )
    return field[:, -1].cpu()


def _conditions(described: Described, settings: Settings) -> dict[str, Any]:
    return {
        "references": f"{len(described.references)} of {settings.references}, "
        f"SHA-256 {described.references.sha256()[:16]}",
        "pixels": " × ".join(map(str, described.references.images.shape[1:])),
        "target": settings.target,
        "path": f"{settings.steps} Gauss–Legendre steps from {settings.baseline}",
        "precision": settings.precision,
        "seed": settings.seed,
        **{f"version of {name}": version for name, version in versions().items()},
        **{name: value for name, value in machine().items() if value is not None},
    }
