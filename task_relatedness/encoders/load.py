"""The encoders that are compared: those of the rooms' zoo, or the published ones."""

import hashlib
from functools import lru_cache
from pathlib import Path

from modelgif.experiment.run import Run
from modelgif.experiment.seeding import resolve_device
from modelgif.loading.checkpoint import read_card
from modelgif.loading.preprocessing import Preprocessed
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.encoders import published_zoo
from task_relatedness.encoders.published_files import check_published, published_file
from task_relatedness.zoo import encoder_path, load_encoder


# Once a process, however much it compares.
@lru_cache(maxsize=1)
def encoders(run: Run[TaskRelatednessConfig]) -> dict[str, Preprocessed]:
    """Returns the encoder of every task on the device, in evaluation mode; they take pixels.

    Raises:
        modelgif.loading.errors.CheckpointError: for one that is missing, damaged or refused.
    """
    published, device = run.config.published, resolve_device(run.config.device)
    if published is None:
        return {task: load_encoder(run, task) for task in run.config.tasks}
    root, width = Path(published.root), published_zoo.WIDTH
    return {
        task: published_zoo.load_published(root, task, device=device, width=width)
        for task in run.config.tasks
    }


def encoder_digests(run: Run[TaskRelatednessConfig]) -> dict[str, str]:
    """Returns a digest of every task's weights: the card's, or that of the published file.

    Raises:
        FileNotFoundError: when published files are missing; the message says which.
        modelgif.loading.errors.CheckpointError: when a card is missing or damaged.
    """
    published, tasks = run.config.published, run.config.tasks
    if published is None:
        return {task: read_card(encoder_path(run, task))["weights_sha256"] for task in tasks}
    root = Path(published.root)
    check_published(root, tasks)
    return {task: _file_digest(published_file(root, task)) for task in tasks}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
