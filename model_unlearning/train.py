"""Stage 1: trains the zoo, with a checkpoint every few epochs; what is there is not made again."""

from functools import lru_cache, partial
from pathlib import Path

import pandas as pd

from model_unlearning.build import TrainingBuilder
from model_unlearning.config import UnlearningConfig
from model_unlearning.performance import QUANTITIES, performance
from model_unlearning.split import make_split
from model_unlearning.zoo import UnlearningModel, roster
from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.sealed_csv import write_sealed_csv
from modelgif.experiment.seeding import resolve_device
from modelgif.experiment.training import read_snapshot, write_snapshot
from modelgif.loading.checkpoint import is_complete, read_card, write_checkpoint


def checkpoint_path(run: Run[UnlearningConfig], member: UnlearningModel, epoch: int) -> Path:
    """Returns where a member's weights after `epoch` are; their card is beside them."""
    return run.folder / "zoo" / member.name / f"{member.checkpoint(epoch)}.safetensors"


def train(run: Run[UnlearningConfig]) -> None:
    """Trains every member of the zoo that lacks a checkpoint, from where it was interrupted."""
    config = run.config
    members = roster(config)
    workers = config.workers or workers_on(resolve_device(config.device))
    for title, begins_anew in (("train from scratch", True), ("unlearn", False)):
        missing = [m for m in members if (m.parent is None) == begins_anew and not _is_done(run, m)]
        for_each(partial(_make, run), missing, title=title, unit="model", workers=workers)
    _write_roster(run, members)


def _make(run: Run[UnlearningConfig], member: UnlearningModel) -> None:
    """Trains one member to its end, with all its checkpoints."""
    builder = _builder(run)
    parent = None
    if member.parent is not None:
        parent = read_snapshot(run.folder / "zoo" / member.parent / "snapshot.pt")
    training = builder.begin(member, parent)
    trainer, saved = training.trainer, member.saved_epochs(run.config.checkpoint_every)
    snapshot = _snapshot_path(run, member)
    if snapshot.exists():
        before = read_snapshot(snapshot)
        if all(
            is_complete(checkpoint_path(run, member, epoch))
            for epoch in saved
            if epoch <= before["epochs_done"]
        ):
            trainer.restore(before)
    while trainer.epochs_done < member.epochs:
        training.epoch(len(builder.split.data.classes))
        epoch = trainer.epochs_done
        if epoch in saved:
            card = builder.card(member) | {"epoch": epoch}
            card |= performance(trainer.model, builder.split)
            # The snapshot comes last: it vouches for the checkpoints up to its epoch.
            write_checkpoint(checkpoint_path(run, member, epoch), trainer.model, card)
            write_snapshot(snapshot, trainer.snapshot())


def _is_done(run: Run[UnlearningConfig], member: UnlearningModel) -> bool:
    saved = member.saved_epochs(run.config.checkpoint_every)
    paths = [checkpoint_path(run, member, epoch) for epoch in saved]
    snapshot = _snapshot_path(run, member)
    if not snapshot.exists() or not all(map(is_complete, paths)):
        return False
    # A run killed after the last checkpoint has the snapshot of the one before, which is not what
    # others are to go on from.
    return read_snapshot(snapshot)["epochs_done"] == member.epochs


def _snapshot_path(run: Run[UnlearningConfig], member: UnlearningModel) -> Path:
    return run.folder / "zoo" / member.name / "snapshot.pt"


@lru_cache(maxsize=1)
def _builder(run: Run[UnlearningConfig]) -> TrainingBuilder:
    """Built once per process, however many models it makes."""
    return TrainingBuilder(run.config, make_split(run.config), resolve_device(run.config.device))


def _write_roster(run: Run[UnlearningConfig], members: list[UnlearningModel]) -> None:
    """Writes ``zoo/roster.csv``: what every card says."""
    columns = ["kind", "replicate", "seed", "parent", "epoch", "data", "architecture", *QUANTITIES]
    rows = []
    for member in members:
        for epoch in member.saved_epochs(run.config.checkpoint_every):
            card = read_card(checkpoint_path(run, member, epoch))
            rows.append({"checkpoint": member.checkpoint(epoch)} | {k: card[k] for k in columns})
    write_sealed_csv(run.folder / "zoo" / "roster.csv", pd.DataFrame(rows))


def files(run: Run[UnlearningConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    checkpoints = [
        checkpoint_path(run, member, epoch)
        for member in roster(run.config)
        for epoch in member.saved_epochs(run.config.checkpoint_every)
    ]
    return [*checkpoints, run.folder / "zoo" / "roster.csv"]


if __name__ == "__main__":
    run_stage(train, UnlearningConfig, testbed="model_unlearning")
