"""``modelgif verdict``: was this suspect made from that victim?"""

import shlex
import sys
from pathlib import Path

import click
import pandas as pd
import torch

from modelgif.cli.described import Described, describe
from modelgif.cli.listing import ListingCommand
from modelgif.cli.options import Settings, complete_models, describing
from modelgif.cli.printing import print_result
from modelgif.cli.verdict_report import verdict_report
from modelgif.reporting.report import write_report
from modelgif.verdict import Calibration, Correction, Kind, Verdict, verdicts

# Exit status: as `grep` tells a find from none, and both from an error.
DERIVED, UNDECIDED = 3, 4
_N_DRAWS = 200


class _Trial(ListingCommand):
    lists = ("--suspect", "--independent")


@click.command(
    cls=_Trial,
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
    help="Accused.",
)
@click.option(
    "--independent",
    "independents",
    required=True,
    multiple=True,
    metavar="MODEL...",
    shell_complete=complete_models,
    help="Known to be made without the victim; 19 of the suspect's architecture are needed to "
    "decide at 5 %.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 0.5, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Share of honest models that may be called derived.",
)
@click.option(
    "--correction",
    type=click.Choice(["holm", "benjamini_hochberg", "none"]),
    default="holm",
    show_default=True,
    help="For several suspects: holm keeps the chance of any false accusation at the level.",
)
@click.option(
    "--calibration",
    type=click.Choice(["matched", "standardised"]),
    default="matched",
    show_default=True,
    help="matched compares with independents of the suspect's architecture; standardised with all, "
    "each measured by its own architecture.",
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
    correction: Correction,
    calibration: Calibration,
    report: Path | None,
    as_json: bool,
    *,
    settings: Settings,
) -> None:
    """Decide whether each suspect was derived from the victim.

    By the distances of gradient fields and by unlike labels together, each measured by what is
    usual among the independents. Exit status: 0 nobody is called derived and nobody is undecided,
    3 somebody is called derived, 4 nobody is, but somebody is undecided.
    """
    found = describe([victim, *suspects, *independents], settings, progress=not as_json)
    accused = found.names[1 : 1 + len(suspects)]
    honest = found.names[1 + len(suspects) :]
    judged = verdicts(
        accused,
        _contributions(found, accused),
        _contributions(found, honest),
        suspect_kinds=[Kind(found.kinds[name], "") for name in accused],
        independent_kinds=[Kind(found.kinds[name], "") for name in honest],
        correction=correction,
        calibration=calibration,
        level=level,
        n_draws=_N_DRAWS,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    table = pd.DataFrame(_row(found, one) for one in judged)
    notes = [*found.notes, *(f"{one.suspect}: {one.note}" for one in judged if one.note)]
    print_result(
        {"victim": found.names[0], "verdicts": table, "level": level, "notes": notes},
        as_json=as_json,
    )
    if report is not None:
        everyone = (victim, *suspects, *independents)
        addresses = dict(zip(found.names, everyone, strict=True))
        command = shlex.join(["modelgif", *sys.argv[1:]])
        page = verdict_report(found, judged, addresses, table, settings, notes, command)
        write_report(report, page)
    decisions = {one.decision for one in judged}
    status = DERIVED if "derived" in decisions else UNDECIDED if "undecided" in decisions else 0
    raise click.exceptions.Exit(status)


def _contributions(found: Described, names: list[str]) -> dict[str, torch.Tensor]:
    return {
        "field": torch.stack([found.field_evidence(name) for name in names]),
        "labels": torch.stack([found.label_distances(name) for name in names]),
    }


def _row(found: Described, one: Verdict) -> dict[str, object]:
    labels = found.label_distances(one.suspect).mean().item()
    return {
        "suspect": one.suspect,
        "field distance": found.field_distances(one.suspect).mean().item(),
        "unlike labels": labels,
        "p-value": one.p_value,
        "adjusted": one.adjusted_p_value,
        # The command is told architectures only; how a model was trained is nobody's word.
        "compared with": f"{one.n_independents} of "
        + ("all architectures" if one.matched_by == "pooled" else "its architecture"),
        "verdict": one.decision,
    }
