"""Stage 2: extracts the field of every checkpoint, once, at forgotten and at held-out images."""

from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model_unlearning.config import TRUE_LABEL, UnlearningConfig
from model_unlearning.split import make_split
from model_unlearning.train import checkpoint_path
from model_unlearning.zoo import UnlearningModel, roster
from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import resolve_device, seeded_generator
from modelgif.references.references import References
from modelgif.zoo.extract import extract

# Training images to be forgotten, as in the paper, and test images that are like them.
IMAGE_SETS = ("forgotten", "held_out")


class Measured(NamedTuple):
    """Where fields are measured: images with their labels, and where the paths begin."""

    references: References
    labels: Tensor
    baseline: Tensor | float


def choose_references(config: UnlearningConfig) -> dict[str, Measured]:
    """Returns the references of each image set, drawn at random."""
    split = make_split(config)
    data, baseline = split.data, config.field.baseline
    start = data.mean if baseline == "mean" else baseline
    sides = (
        ("forgotten", "train", data.train_images, data.train_labels, split.forgotten),
        ("held_out", "test", data.test_images, data.test_labels, split.held_out),
    )
    chosen = {}
    for name, prefix, images, labels, candidates in sides:
        rows = candidates.nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=seeded_generator(config.seed, name))
        rows = rows[order[: config.n_references]]
        ids = tuple(f"{prefix}/{row}" for row in rows.tolist())
        chosen[name] = Measured(References(images[rows], ids), labels[rows], start)
    return chosen


def extract_fields(run: Run[UnlearningConfig]) -> None:
    """Extracts the fields of all checkpoints that have no field store yet."""
    config = run.config
    workers = config.workers or workers_on(resolve_device(config.device))
    for_each(partial(_extract, run), roster(config), title="extract", unit="model", workers=workers)


def _extract(run: Run[UnlearningConfig], member: UnlearningModel) -> None:
    config, field = run.config, run.config.field
    saved = member.saved_epochs(config.checkpoint_every)
    for name, measured in _measured(run).items():
        done = extract(
            {member.checkpoint(e): f"file:{checkpoint_path(run, member, e)}" for e in saved},
            measured.references,
            run.folder / "fields" / name,
            target=measured.labels if field.target == TRUE_LABEL else field.target,
            baseline=measured.baseline,
            **field.options(),
            device=resolve_device(config.device),
            config_sha256=run.label.rsplit("-", 1)[-1],
            progress=False,
        )
        done.raise_for_failures()


@lru_cache(maxsize=1)
def _measured(run: Run[UnlearningConfig]) -> dict[str, Measured]:
    """Read once a process, however many models it describes."""
    return choose_references(run.config)


def files(run: Run[UnlearningConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [
        run.folder / "fields" / images / f"{member.checkpoint(epoch)}.h5"
        for images in ("forgotten", "held_out")
        for member in roster(run.config)
        for epoch in member.saved_epochs(run.config.checkpoint_every)
    ]


if __name__ == "__main__":
    run_stage(extract_fields, UnlearningConfig, testbed="model_unlearning")
