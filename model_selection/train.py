"""Stage 1: pretrains the zoo, one checkpoint per model; finished models are skipped."""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from model_selection.build import PretrainedModelBuilder
from model_selection.config import ModelSelectionConfig, PublishedConfig
from model_selection.published import check_files, read_published
from model_selection.source import load_source
from model_selection.zoo import PretrainedModel, roster
from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.sealed_csv import write_sealed_csv
from modelgif.experiment.seeding import resolve_device
from modelgif.loading.checkpoint import is_complete, read_card, write_checkpoint
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from modelgif.loading.trust import TRUSTED


def checkpoint_path(run: Run[ModelSelectionConfig], name: str) -> Path:
    """Returns where the weights of the model called `name` are; their card is beside them."""
    return run.folder / "zoo" / f"{name}.safetensors"


def load_member(run: Run[ModelSelectionConfig], name: str) -> tuple[Preprocessed, dict[str, Any]]:
    """Returns a finished model of the zoo, in evaluation mode on the device, and its card.

    A card whose ``n_classes`` is None is of a backbone, which gives features; any other is of a
    classifier of the source's classes.
    """
    path = checkpoint_path(run, name)
    trust = (*TRUSTED, "modelgif.experiment.backbone")
    device = resolve_device(run.config.device)
    return load_model(f"file:{path}", device=device, trust=trust), read_card(path)


def n_workers(config: ModelSelectionConfig) -> int | None:
    """Returns the `workers` of `modelgif.experiment.parallel.for_each`."""
    return config.workers or workers_on(resolve_device(config.device))


def train(run: Run[ModelSelectionConfig]) -> None:
    """Pretrains or reads every member of the zoo that has no checkpoint yet."""
    check_files(run.config)
    members = roster(run.config)
    missing = [m for m in members if not is_complete(checkpoint_path(run, m.name))]
    workers = n_workers(run.config)
    for_each(partial(_make, run), missing, title="pretrain", unit="model", workers=workers)
    _write_roster(run, members)


def _make(run: Run[ModelSelectionConfig], member: PretrainedModel) -> None:
    if isinstance(member.origin, PublishedConfig):
        model, card = read_published(member, member.origin)
    else:
        model, card = _builder(run).build(member, member.origin)
    write_checkpoint(checkpoint_path(run, member.name), model, card)


@lru_cache(maxsize=1)
def _builder(run: Run[ModelSelectionConfig]) -> PretrainedModelBuilder:
    """Built once per process, however many models it makes."""
    device = resolve_device(run.config.device)
    return PretrainedModelBuilder(run.config.seed, load_source(run.config).data, device)


def _write_roster(run: Run[ModelSelectionConfig], members: list[PretrainedModel]) -> None:
    """Writes ``zoo/roster.csv``: what every card says."""
    columns = ["n_classes", "n_images", "pretext", "untrained", "pretrained", "plain"]
    rows = []
    for member in members:
        card = read_card(checkpoint_path(run, member.name))
        row = {"model": member.name, "architecture": member.architecture}
        row |= {"pretraining": member.pretraining}
        rows.append(row | {key: card.get(key) for key in columns})
    write_sealed_csv(run.folder / "zoo" / "roster.csv", pd.DataFrame(rows))


def files(run: Run[ModelSelectionConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    checkpoints = [checkpoint_path(run, member.name) for member in roster(run.config)]
    return [*checkpoints, run.folder / "zoo" / "roster.csv"]


if __name__ == "__main__":
    run_stage(train, ModelSelectionConfig, testbed="model_selection")
