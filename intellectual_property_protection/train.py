"""Stage 1: trains the zoo, one checkpoint a model; finished models are skipped."""

from functools import lru_cache, partial
from pathlib import Path

import pandas as pd
from torch import Tensor

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.workshop import Workshop
from intellectual_property_protection.zoo import Member, roster
from modelgif.checkpoint import is_complete, read_card, write_checkpoint
from modelgif.experiment.data import load_data
from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import resolve_device
from modelgif.experiment.table import write_csv
from modelgif.experiment.training import predict
from modelgif.loading import load_model


def checkpoint_path(run: Run[IPPConfig], member: Member) -> Path:
    """Returns where the member's weights are; its card is beside them."""
    return run.folder / "zoo" / f"{member.name}.safetensors"


def train(run: Run[IPPConfig]) -> None:
    """Trains every member of the zoo that has no checkpoint yet."""
    victim, *others = roster(run.config)
    workers = workers_on(resolve_device(run.config.device))
    for members in ([victim], others):
        missing = [m for m in members if not is_complete(checkpoint_path(run, m))]
        make = partial(_make, run, victim)
        for_each(make, missing, title=f"train {members[0].role}", unit="model", workers=workers)
    _write_roster(run, [victim, *others])


def _make(run: Run[IPPConfig], victim: Member, member: Member) -> None:
    """Trains one member and writes its checkpoint."""
    workshop = _workshop(run)
    victims_model = None
    if member != victim:
        victims_model = load_model(f"file:{checkpoint_path(run, victim)}", device=workshop.device)
    model = workshop.make(member, victims_model)
    data = workshop.data
    classes, victims = (
        predict(m, data.test_images).argmax(1) for m in (model, victims_model or model)
    )
    card = workshop.card(member) | {
        "accuracy": _share(classes == data.test_labels),
        "agreement_with_victim": _share(classes == victims),
    }
    write_checkpoint(checkpoint_path(run, member), model, card)


@lru_cache(maxsize=1)
def _workshop(run: Run[IPPConfig]) -> Workshop:
    """Read once a process, however many models it makes."""
    data = load_data(**run.config.data.model_dump())
    return Workshop(run.config, data, resolve_device(run.config.device))


def _write_roster(run: Run[IPPConfig], members: list[Member]) -> None:
    """Writes ``zoo/roster.csv``: what every card says."""
    columns = ["role", "recipe", "ratio", "parent", "architecture", "data", "seed"]
    columns += ["accuracy", "agreement_with_victim"]
    cards = [(member.name, read_card(checkpoint_path(run, member))) for member in members]
    rows = [{"model": name} | {key: card[key] for key in columns} for name, card in cards]
    write_csv(run.folder / "zoo" / "roster.csv", pd.DataFrame(rows))


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()


if __name__ == "__main__":
    run_stage(train, IPPConfig, testbed="intellectual_property_protection")
