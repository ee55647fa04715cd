"""Stage 2: fine-tunes every model on every task, to learn which should have been chosen."""

import json
import statistics
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import nn

from model_selection.config import ModelSelectionConfig
from model_selection.draws import split_within_classes
from model_selection.fine_tuning import Trial, accuracy, best, fine_tuned, trial
from model_selection.tasks import task_config, task_names, task_of
from model_selection.train import checkpoint_path, load_member, n_workers
from model_selection.zoo import roster
from modelgif.data.image_data import ImageData
from modelgif.experiment.backbone import cut_head
from modelgif.experiment.parallel import for_each
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import seeded_generator
from modelgif.experiment.training import predict
from modelgif.loading.checkpoint import read_card
from modelgif.reporting.table import write_csv
from modelgif.storage.atomic import write_text


class Work(NamedTuple):
    """One model on one task."""

    task: str
    model: str


def tuning_path(run: Run[ModelSelectionConfig], work: Work) -> Path:
    """Returns where the accuracies of a model on a task are."""
    return run.folder / "finetune" / work.task / f"{work.model}.json"


def finetune(run: Run[ModelSelectionConfig]) -> None:
    """Writes ``finetune/<task>/<model>.json``, where one is not whole, and ``accuracy.csv``.

    A model's file grows setting by setting, so that a killed sweep goes on where it stopped.
    """
    members, tasks = roster(run.config), task_names(run.config)
    work = [Work(task, member.name) for task in tasks for member in members]
    missing = [each for each in work if "test_accuracy" not in _read(run, each)]
    workers = n_workers(run.config)
    for_each(partial(_tune, run), missing, title="fine-tune", unit="model", workers=workers)
    frame = pd.DataFrame([row for each in work for row in _rows(run, each)])
    write_csv(run.folder / "finetune" / "accuracy.csv", frame)


def _tune(run: Run[ModelSelectionConfig], work: Work) -> None:
    """Goes through the sweep, chooses by validation images, and looks once at the test images."""
    config, found = run.config, _read(run, work)
    data = task_of(run, work.task)
    model, card = load_member(run, work.model)
    if card["n_classes"] is not None:
        cut_head(model)
    draws = partial(seeded_generator, config.seed, "fine-tune", work.task)
    # The same images for every model.
    rows, apart = split_within_classes(
        data.train_labels, config.finetune.validation_share, generator=draws("validation")
    )
    fit = partial(_fit, config, model, data)
    for setting in config.finetune.grid()[len(found["trials"]) :]:
        # The same start and order for all settings of a model, which differ in nothing else.
        tuned = fit(rows, setting, generator=draws(work.model, "sweep"))
        own = trial(tuned, setting, data.train_images[apart], data.train_labels[apart])
        found["trials"].append(own._asdict())
        _write(run, work, found)
    found["chosen"] = best([Trial(**own) for own in found["trials"]])
    chosen = config.finetune.grid()[found["chosen"]]
    everything = torch.arange(len(data.train_labels))
    for i in range(len(found["refits"]), config.finetune.n_refits):
        tuned = fit(everything, chosen, generator=draws(work.model, "refit", i))
        found["refits"].append(_tested(config, work, tuned, data))
        _write(run, work, found)
    found["test_accuracy"] = statistics.fmean(found["refits"])
    _write(run, work, found)


def _fit(
    config: ModelSelectionConfig,
    model: nn.Module,
    data: ImageData,
    rows: torch.Tensor,
    setting: tuple[float, float],
    *,
    generator: torch.Generator,
) -> nn.Module | None:
    training = config.finetune.training(*setting, len(rows))
    images, labels = data.train_images[rows], data.train_labels[rows]
    return fine_tuned(model, images, labels, len(data.classes), training, generator=generator)


def _tested(
    config: ModelSelectionConfig, work: Work, model: nn.Module | None, data: ImageData
) -> float:
    if model is None:
        raise ValueError(
            f"{work.model} learnt {work.task} with the chosen setting once and diverged the second "
            "time: lower the highest of finetune.learning_rates."
        )
    per_class = task_config(config, work.task).per_class
    logits = predict(model, data.test_images)
    return accuracy(logits, data.test_labels, per_class=per_class)


def _read(run: Run[ModelSelectionConfig], work: Work) -> dict[str, Any]:
    """What is known of a model on a task; nothing, when it is of other weights."""
    path = tuning_path(run, work)
    digest = read_card(checkpoint_path(run, work.model))["weights_sha256"]
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["weights_sha256"] == digest:
            return found
    nothing: dict[str, Any] = {"trials": [], "refits": []}
    return nothing | {"model": work.model, "task": work.task, "weights_sha256": digest}


def _write(run: Run[ModelSelectionConfig], work: Work, found: dict[str, Any]) -> None:
    text = json.dumps(found, sort_keys=True, indent=2, allow_nan=False) + "\n"
    write_text(tuning_path(run, work), text)


def _rows(run: Run[ModelSelectionConfig], work: Work) -> list[dict[str, Any]]:
    """A row a setting; only the chosen one has been tested."""
    found = _read(run, work)
    refits = found["refits"]
    rows = []
    for i, own in enumerate(found["trials"]):
        chosen = i == found["chosen"]
        rows.append(
            {
                "model": work.model,
                "task": work.task,
                "learning_rate": own["learning_rate"],
                "weight_decay": own["weight_decay"],
                "validation_accuracy": own["validation_accuracy"],
                "test_accuracy": found["test_accuracy"] if chosen else None,
                "chosen": chosen,
                "n_refits": len(refits) if chosen else None,
                "test_spread": statistics.stdev(refits) if chosen and len(refits) > 1 else None,
            }
        )
    return rows


def files(run: Run[ModelSelectionConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    members, tasks = roster(run.config), task_names(run.config)
    paths = [tuning_path(run, Work(task, member.name)) for task in tasks for member in members]
    return [*paths, run.folder / "finetune" / "accuracy.csv"]


if __name__ == "__main__":
    run_stage(finetune, ModelSelectionConfig, testbed="model_selection")
