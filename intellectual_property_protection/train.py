"""Stage 1: makes the zoo, one checkpoint per model; finished models are skipped."""

from functools import cache, lru_cache, partial
from pathlib import Path

import pandas as pd
from torch import Tensor, nn

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.member import Member
from intellectual_property_protection.models.build import ModelBuilder
from intellectual_property_protection.models.data_splits import halves, transfer_data
from intellectual_property_protection.models.published_files import check_published
from intellectual_property_protection.models.published_zoo import PublishedZoo
from intellectual_property_protection.zoo import in_turns, roster
from modelgif.data.data import load_data
from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.sealed_csv import write_sealed_csv
from modelgif.experiment.seeding import resolve_device
from modelgif.experiment.training import predict
from modelgif.loading.checkpoint import is_complete, read_card, write_checkpoint
from modelgif.loading.load import load_model

COLUMNS = (
    *("role", "recipe", "training", "ratio", "parent", "architecture", "label_set", "n_classes"),
    *("data", "half", "replicate", "seed", "accuracy", "agreement_with_victim", "robust_accuracy"),
)


def checkpoint_path(run: Run[IPPConfig], member: Member) -> Path:
    """Returns where the member's weights are; its card is beside them."""
    return _path(run, member.name)


def train(run: Run[IPPConfig]) -> None:
    """Makes every member of the zoo that has no checkpoint yet.

    Raises:
        FileNotFoundError: when files of a published zoo are missing.
    """
    members = roster(run.config)
    missing = {member for member in members if not is_complete(checkpoint_path(run, member))}
    if missing and run.config.published is not None:
        check_published(Path(run.config.published.root).expanduser())
    make = partial(_make, run, members[0])
    workers = workers_on(resolve_device(run.config.device))
    for turn in in_turns(members):
        todo = [member for member in turn if member in missing]
        title = f"make {len(todo)} of {len(members)}"
        for_each(make, todo, title=title, unit="model", workers=workers)
    _write_roster(run, members)


def _make(run: Run[IPPConfig], victim: Member, member: Member) -> None:
    """Makes one member and writes its checkpoint."""
    builder = _builder(run)

    @cache
    def made(name: str) -> nn.Module:
        return load_model(f"file:{_path(run, name)}", device=builder.device)

    model = builder.build(member, None if member.parent is None else made(member.parent))
    card = {
        "role": member.role,
        "recipe": member.recipe,
        "training": member.training,
        "ratio": member.ratio,
        "parent": member.parent,
        "half": member.data,
        "label_set": member.label_set,
        "replicate": member.replicate,
        "accuracy": None,
        "agreement_with_victim": None,
        "robust_accuracy": builder.robust_accuracy(model, member),
    }
    data = builder.data_of(member)
    if data is not None:
        classes = predict(model, data.test_images).argmax(1)
        card["accuracy"] = _share(classes == data.test_labels)
        if member.label_set == victim.label_set:
            victims = model if member == victim else made(victim.name)
            agrees = classes == predict(victims, data.test_images).argmax(1)
            card["agreement_with_victim"] = _share(agrees)
    write_checkpoint(checkpoint_path(run, member), model, card | builder.card(member))


def _path(run: Run[IPPConfig], name: str) -> Path:
    return run.folder / "zoo" / f"{name}.safetensors"


@lru_cache(maxsize=1)
def _builder(run: Run[IPPConfig]) -> ModelBuilder | PublishedZoo:
    """Read once per process, however many models it makes."""
    config = run.config
    data, device = load_data(**config.data.model_dump()), resolve_device(config.device)
    if config.published is not None:
        return PublishedZoo(Path(config.published.root).expanduser(), data, device)
    if config.recipes is None:
        raise ValueError("a zoo needs recipes, unless it is a published one.")
    parts = halves(config, data)
    other = transfer_data(config, parts["other"])
    return ModelBuilder(config.recipes, config.seed, data, parts, other, device)


def _write_roster(run: Run[IPPConfig], members: list[Member]) -> None:
    """Writes ``zoo/roster.csv``: what every card says."""
    cards = [(member.name, read_card(checkpoint_path(run, member))) for member in members]
    rows = [{"model": name} | {key: card[key] for key in COLUMNS} for name, card in cards]
    write_sealed_csv(run.folder / "zoo" / "roster.csv", pd.DataFrame(rows))


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()


def files(run: Run[IPPConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    checkpoints = [checkpoint_path(run, member) for member in roster(run.config)]
    return [*checkpoints, run.folder / "zoo" / "roster.csv"]


if __name__ == "__main__":
    run_stage(train, IPPConfig, testbed="intellectual_property_protection")
