"""The page that a verdict can be defended with."""

from collections.abc import Sequence
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

# References shown of those where suspect and victim agree most, and of those where least.
_N_SHOWN = 4


def verdict_report(
    found: Described,
    judged: Sequence[Verdict],
    addresses: dict[str, str],
    table: pd.DataFrame,
    settings: Settings,
    notes: Sequence[str],
    command: str,
) -> Report:
    """Returns the report of verdicts: table, distributions, tree, and what it looks like.

    Args:
        found: the models, described; the victim is the first.
        judged: the verdicts.
        addresses: of the models, by name.
        table: a row a verdict.
        settings: of the descriptions.
        notes: what a reader must know besides.
        command: that repeats it.
    """
    victim = found.names[0]
    suspects = [one.suspect for one in judged]
    nearest = min(suspects, key=lambda name: found.field_distances(name).mean().item())
    independents = [name for name in found.names[1:] if name not in suspects]
    groups = [
        "victim" if name == victim else "suspect" if name in suspects else "independent"
        for name in found.names
    ]
    matrix = found.fields.matrix.numpy()
    shown = _most_and_least(found, nearest)
    sections = [
        Section("Verdicts", table=table),
        Section(
            "Where the suspects lie among honest models",
            "A dot is a model; left is nearer to the victim. A suspect is compared with "
            "independent models of its own architecture, for architecture alone moves distances.",
            figure=distributions(
                {f"suspect {name}": _mean(found, [name]) for name in suspects}
                | {
                    f"independent {kind}": _mean(
                        found, [name for name in independents if found.kinds[name] == kind]
                    )
                    for kind in dict.fromkeys(found.kinds[name] for name in independents)
                }
            ),
            caption="Distance of gradient fields to the victim",
        ),
        Section(
            "How alike all models are",
            figure=similarity_tree(matrix, found.names, groups=groups),
            caption="Models that join further right are more alike",
        ),
        Section(
            "All distances",
            figure=heat_map(matrix, found.names, groups=groups),
            caption="Distance of gradient fields, every pair",
        ),
        Section(
            f"What {nearest} and the victim look at",
            "The references at which the two agree most, then those at which they agree least. Red "
            "pixels speak for the class that the model predicts, blue ones against it.",
            figure=evidence(
                found.references.images[shown],
                {
                    name: _relevance(addresses[name], shown, found, settings)
                    for name in (victim, nearest)
                },
                [f"{found.field_distances(nearest)[row]:.2f}" for row in shown],
            ),
            caption="Integrated gradients; over each reference the distance there",
        ),
    ]
    return Report(
        question=f"Was {' or '.join(suspects)} made from {victim}?",
        answer=" ".join(_sentence(one) for one in judged),
        sections=sections,
        conditions=_conditions(found, settings),
        repeat=command,
        notes=notes,
    )


def _sentence(one: Verdict) -> str:
    grounds = (
        f"p = {one.p_value:.3g} among {one.n_independents} independent models, "
        f"adjusted {one.adjusted_p_value:.3g}, level {one.level:g}"
    )
    return {
        "derived": f"{one.suspect} is nearer to it than honest models are: derived ({grounds}).",
        "independent": f"{one.suspect} is no nearer to it than honest models are ({grounds}).",
        "undecided": f"The evidence does not decide about {one.suspect} ({grounds}).",
    }[one.decision]


def _mean(found: Described, names: Sequence[str]) -> list[float]:
    return [found.field_distances(name).mean().item() for name in names]


def _most_and_least(found: Described, name: str) -> list[int]:
    order = found.field_distances(name).argsort().tolist()
    n_shown = min(_N_SHOWN, len(order) // 2)
    return [*order[:n_shown], *order[len(order) - n_shown :]] if n_shown else order


def _relevance(
    address: str, rows: Sequence[int], found: Described, settings: Settings
) -> torch.Tensor:
    options = settings.field_options(found.references)
    field = gradient_field(settings.load(address), found.references.images[list(rows)], **options)
    return field[:, -1].cpu()


def _conditions(found: Described, settings: Settings) -> dict[str, Any]:
    return {
        "references": f"{len(found.references)} of {settings.references}, "
        f"SHA-256 {found.references.sha256()[:16]}",
        "pixels": " × ".join(map(str, found.references.images.shape[1:])),
        "target": settings.target,
        "path": f"{settings.steps} Gauss–Legendre steps from {settings.baseline}",
        "precision": settings.precision,
        "seed": settings.seed,
        **{f"version of {name}": version for name, version in versions().items()},
        **{name: value for name, value in machine().items() if value is not None},
    }
