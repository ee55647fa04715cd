"""``modelgif verdict``: was this suspect made from that victim?"""

import math
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelgif.cli.extras import require
from modelgif.cli.listing import ListingCommand
from modelgif.cli.options import Settings, complete_models, describing
from modelgif.cli.printing import Table, model_names, print_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from modelgif.trial.trial import Judgement, Trial
    from modelgif.verdict import Calibration, Correction

# Exit statuses that tell results from errors, as those of `grep` do.
DERIVED, UNDECIDED = 3, 4


class _VerdictCommand(ListingCommand):
    lists = ("--suspect", "--independent", "--ancestor")


@click.command(
    cls=_VerdictCommand,
    epilog="""\b
    modelgif verdict --victim mine.safetensors --suspect theirs.safetensors \\
        --own-initialisation --references photos --size 64
    modelgif verdict --victim mine.safetensors --suspect theirs.safetensors \\
        --ancestor 'torchvision:resnet18?weights=DEFAULT' --independent honest/*.safetensors \\
        --references photos --size 64 --report report.html""",
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
    multiple=True,
    metavar="MODEL...",
    shell_complete=complete_models,
    help="Models known to be trained without the victim; 19 of the suspect's architecture are "
    "needed to decide at 5 % by comparison. Modelgif independents makes them.",
)
@click.option(
    "--ancestor",
    "ancestors",
    multiple=True,
    metavar="MODEL...",
    shell_complete=complete_models,
    help="Public models that the victim, or others, may have been made from.",
)
@click.option(
    "--own-initialisation",
    is_flag=True,
    help="The victim's owner states that it was trained from a private random start.",
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
    ancestors: tuple[str, ...],
    own_initialisation: bool,
    level: float,
    correction: "Correction",
    calibration: "Calibration",
    report: Path | None,
    as_json: bool,
    *,
    settings: Settings,
) -> None:
    """Decide whether each suspect was derived from the victim.

    By lines of evidence: a common origin of the weights, which needs no independent model; changes
    from a public ancestor; and gradient fields with label disagreement, each among independent
    models. Exit status: 0 no suspect is derived or undecided, 3 at least one is derived, 4 none is
    derived, but at least one is undecided or of common origin.
    """
    from modelgif.cli.described import refuse_missing_files
    from modelgif.trial.hold import hold_trial

    if report is not None:
        require("report")
    models = (victim, *suspects, *independents)
    names = model_names(models)
    addresses = dict(zip(names, models, strict=True))
    refuse_missing_files((*models, *ancestors), settings)
    load = {name: partial(settings.load, address) for name, address in addresses.items()}
    references = settings.find_references()
    trial = hold_trial(
        (names[0], load[names[0]]),
        {name: load[name] for name in names[1 : 1 + len(suspects)]},
        {name: load[name] for name in names[1 + len(suspects) :]},
        references,
        ancestors={
            name: partial(settings.load, address)
            for name, address in zip(model_names(ancestors), ancestors, strict=True)
        },
        own_initialisation=own_initialisation,
        build=_builder(victim, settings),
        parents=_parents(addresses),
        level=level,
        correction=correction,
        calibration=calibration,
        seed=settings.seed,
        progress=not as_json,
        **settings.field_options(references),
    )
    rows = [_row(trial, judgement) for judgement in trial.judgements]
    notes = list(trial.notes)
    notes += [f"{j.suspect}: {note}" for j in trial.judgements for note in j.notes]
    print_result(
        {
            "victim": trial.victim,
            **(_in_full(trial, rows) if as_json else _in_words(trial, rows)),
            "level": level,
            "notes": notes,
        },
        as_json=as_json,
    )
    if report is not None:
        from modelgif.cli.verdict_report import verdict_report
        from modelgif.reporting.report import write_report

        command = shlex.join(["modelgif", *sys.argv[1:]])
        page = verdict_report(trial, addresses, settings, notes, command)
        write_report(report, page)
    answers = {judgement.answer for judgement in trial.judgements}
    open_ones = answers & {"undecided", "common origin"}
    status = DERIVED if "derived" in answers else UNDECIDED if open_ones else 0
    raise click.exceptions.Exit(status)


def _in_words(trial: "Trial", rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The table, then the answer on each suspect with its reason and what would settle it."""
    sentences = {
        judgement.suspect: " ".join(
            filter(None, [f"{judgement.answer}:", judgement.because, _settling(judgement)])
        )
        for judgement in trial.judgements
    }
    return {"verdicts": Table(rows), "answers": sentences}


def _settling(judgement: "Judgement") -> str:
    return f"What would settle it: {judgement.would_settle}" if judgement.would_settle else ""


def _in_full(trial: "Trial", rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The table with each suspect's lines of evidence."""
    return {
        "verdicts": Table(
            [
                row
                | {
                    "because": judgement.because,
                    "would settle": judgement.would_settle,
                    "evidence": [asdict(line) for line in judgement.evidence],
                }
                for row, judgement in zip(rows, trial.judgements, strict=True)
            ]
        )
    }


def _builder(victim: str, settings: Settings) -> "Callable[[], nn.Module] | None":
    """Makes the victim's architecture anew; None where its address does not say which it is."""
    import torch

    from modelgif.experiment.starting_network import architecture_address
    from modelgif.loading.address import as_address, with_query

    try:
        architecture = architecture_address(as_address(victim))
    except ValueError:
        return None

    def build() -> "nn.Module":
        # The weights of an address are drawn from its own seed: here that which was set last.
        address = with_query(architecture, {"seed": torch.initial_seed()})
        return settings.load(address).network

    return build


def _parents(addresses: Mapping[str, str]) -> dict[str, str]:
    """The parent that each model's card names, by name of the model, as the name of its file."""
    from modelgif.loading.address import as_address, parse_address
    from modelgif.loading.checkpoint import read_card
    from modelgif.loading.errors import CheckpointError

    parents = {}
    for name, address in addresses.items():
        parsed = parse_address(as_address(address))
        if parsed.scheme == "file" and "architecture" not in parsed.query:
            try:
                parent = read_card(Path(parsed.name).expanduser()).get("parent")
            except CheckpointError:
                continue  # loading the model says what is wrong with it
            if isinstance(parent, str) and parent:
                parents[name] = parent
    return parents


def _row(trial: "Trial", judgement: "Judgement") -> dict[str, Any]:
    field, labels = trial.field_distances(judgement.suspect), trial.labels.get(judgement.suspect)
    verdict, origin = judgement.verdict, judgement.evidence[0]
    return {
        "suspect": judgement.suspect,
        "field distance": math.nan if field is None else field.mean().item(),
        "label disagreement": math.nan if labels is None else labels.mean().item(),
        "common origin": {"for": "yes", "not asked": "not asked"}.get(origin.finding, "no"),
        "p-value": math.nan if verdict is None else verdict.p_value,
        "adjusted": math.nan if verdict is None else verdict.adjusted_p_value,
        # How a model was trained is not known to the command.
        "compared with": "none"
        if verdict is None
        else f"{verdict.n_independents} of "
        + ("all architectures" if verdict.matched_by == "pooled" else "its architecture"),
        "verdict": judgement.answer,
    }
