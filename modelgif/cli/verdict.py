"""``modelgif verdict``: was this suspect made from that victim?"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelgif.cli.extras import require
from modelgif.cli.listing import ListingCommand
from modelgif.cli.options import Settings, complete_models, describing
from modelgif.cli.printing import Table, print_result

if TYPE_CHECKING:
    import torch

    from modelgif.cli.described import Described
    from modelgif.verdict import Calibration, Correction, Verdict

# Exit statuses that tell results from errors, as those of `grep` do.
DERIVED, UNDECIDED = 3, 4
_N_BOOTSTRAP = 200


class _VerdictCommand(ListingCommand):
    lists = ("--suspect", "--independent")


@click.command(
    cls=_VerdictCommand,
    epilog="""\b
    modelgif verdict --victim mine.safetensors --suspect theirs.safetensors \\
        --independent honest/*.safetensors --references photos --size 64 --report report.html""",
)
@click.option(
    "--victim",
    required=True,
    metavar="MODEL",
    shell_complete=complete_models,
    help="The protected model.",
)
@click.option(
    "--suspect",
    "suspects",
    required=True,
    multiple=True,
    metavar="MODEL...",
    shell_complete=complete_models,
    help="Models suspected of being derived from the victim.",
)
@click.option(
    "--independent",
    "independents",
    required=True,
    multiple=True,
    metavar="MODEL...",
    shell_complete=complete_models,
    help="Models known to be trained without the victim; 19 of the suspect's architecture are "
    "needed to decide at 5 %.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Probability with which an independent model may be called derived.",
)
@click.option(
    "--correction",
    type=click.Choice(["holm", "benjamini_hochberg", "none"]),
    default="holm",
    show_default=True,
    help="For several suspects: holm keeps the probability of any false accusation at the level.",
)
@click.option(
    "--calibration",
    type=click.Choice(["matched", "standardised"]),
    default="matched",
    show_default=True,
    help="Reference group: matched takes the independents of the suspect's architecture; "
    "standardised takes all, each standardised against its own architecture.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the evidence to this HTML file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@describing
def verdict(
    victim: str,
    suspects: tuple[str, ...],
    independents: tuple[str, ...],
    level: float,
    correction: "Correction",
    calibration: "Calibration",
    report: Path | None,
    as_json: bool,
    *,
    settings: Settings,
) -> None:
    """Decide whether each suspect was derived from the victim.

    The distance of gradient fields and the label disagreement are combined, each standardised
    against the independent models. Exit status: 0 no suspect is derived or undecided, 3 at least
    one is derived, 4 none is derived, but at least one is undecided.
    """
    import torch

    from modelgif.cli.described import describe
    from modelgif.verdict import ModelKind, verdicts

    if report is not None:
        require("report")
    models = (victim, *suspects, *independents)
    described = describe(models, settings, progress=not as_json)
    suspect_names = described.names[1 : 1 + len(suspects)]
    independent_names = described.names[1 + len(suspects) :]
    results = verdicts(
        suspect_names,
        _contributions(described, suspect_names),
        _contributions(described, independent_names),
        suspect_kinds=[ModelKind(described.architectures[name], "") for name in suspect_names],
        independent_kinds=[
            ModelKind(described.architectures[name], "") for name in independent_names
        ],
        correction=correction,
        calibration=calibration,
        level=level,
        n_bootstrap=_N_BOOTSTRAP,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    rows = [_row(described, result) for result in results]
    notes = [
        *described.notes,
        *(f"{result.suspect}: {result.note}" for result in results if result.note),
    ]
    print_result(
        {"victim": described.names[0], "verdicts": Table(rows), "level": level, "notes": notes},
        as_json=as_json,
    )
    if report is not None:
        from modelgif.cli.verdict_report import verdict_report
        from modelgif.reporting.report import write_report

        addresses = dict(zip(described.names, models, strict=True))
        command = shlex.join(["modelgif", *sys.argv[1:]])
        page = verdict_report(described, results, addresses, rows, settings, notes, command)
        write_report(report, page)
    decisions = {result.decision for result in results}
    status = DERIVED if "derived" in decisions else UNDECIDED if "undecided" in decisions else 0
    raise click.exceptions.Exit(status)


def _contributions(described: "Described", names: list[str]) -> dict[str, "torch.Tensor"]:
    import torch

    return {
        "field": torch.stack([described.field_evidence(name) for name in names]),
        "labels": torch.stack([described.label_disagreement(name) for name in names]),
    }


def _row(described: "Described", result: "Verdict") -> dict[str, Any]:
    return {
        "suspect": result.suspect,
        "field distance": described.field_distances(result.suspect).mean().item(),
        "label disagreement": described.label_disagreement(result.suspect).mean().item(),
        "p-value": result.p_value,
        "adjusted": result.adjusted_p_value,
        # How a model was trained is not known to the command.
        "compared with": f"{result.n_independents} of "
        + ("all architectures" if result.matched_by == "pooled" else "its architecture"),
        "verdict": result.decision,
    }
