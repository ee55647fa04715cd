"""Stage 3: what every pretrained model makes of the tasks' images, and of general ones."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from model_selection.config import ModelSelectionConfig
from model_selection.source import load_source
from model_selection.tasks import task_names, task_of
from model_selection.train import checkpoint_path, load_member, n_workers
from model_selection.zoo import roster
from modelgif.experiment.parallel import for_each
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.training import predict
from modelgif.fields.features import penultimate_features
from modelgif.loading.checkpoint import read_card
from modelgif.storage.atomic import whole_file

GENERAL = "general"


class Work(NamedTuple):
    """One model on the images of one task, or on the `GENERAL` ones."""

    images: str
    model: str


def features_path(run: Run[ModelSelectionConfig], work: Work) -> Path:
    """Returns where a model's features of a task's images, or of the `GENERAL` ones, are."""
    return run.folder / "features" / work.model / f"{work.images}.safetensors"


def extract_features(run: Run[ModelSelectionConfig]) -> None:
    """Writes the features that are missing.

    ``features/<model>/<task>.safetensors`` holds for both splits ``<split>_features`` ``[N, D]``,
    ``<split>_labels`` ``[N]`` and, of a model with source classes, ``<split>_probabilities``
    ``[N, Z]``; ``features/<model>/general.safetensors`` holds ``features`` of the source's held-out
    images.
    """
    sets = [GENERAL, *task_names(run.config)]
    work = [Work(images, member.name) for images in sets for member in roster(run.config)]
    missing = [each for each in work if not _is_done(run, each)]
    workers = n_workers(run.config)
    for_each(partial(_extract, run), missing, title="extract", unit="file", workers=workers)


def described(model: nn.Module, images: Tensor, *, has_classes: bool) -> dict[str, Tensor]:
    """Returns ``features`` ``[N, D]`` and, with source classes, ``probabilities`` ``[N, Z]``.

    Args:
        model: a backbone, or a classifier whose last layer is linear.
        images: ``[N, C, H, W]``.
        has_classes: whether it is a classifier.

    Raises:
        ValueError: for features that are not finite vectors.
    """
    if has_classes:
        features = penultimate_features(model, images)
        return {"features": features, "probabilities": predict(model, images).softmax(1)}
    features = predict(model, images)
    if features.ndim != 2 or not features.isfinite().all():
        raise ValueError(
            f"a backbone must give finite features [N, D], got {list(features.shape)} of which "
            f"{int((~features.isfinite()).sum())} numbers are NaN or infinity."
        )
    return {"features": features}


def _extract(run: Run[ModelSelectionConfig], work: Work) -> None:
    model, card = load_member(run, work.model)
    describe = partial(described, model, has_classes=card["n_classes"] is not None)
    if work.images == GENERAL:
        tensors = {"features": describe(load_source(run.config).data.test_images)["features"]}
    else:
        data, tensors = task_of(run, work.images), {}
        for split in ("train", "test"):
            found = describe(getattr(data, f"{split}_images"))
            found["labels"] = getattr(data, f"{split}_labels")
            tensors |= {f"{split}_{key}": tensor.contiguous() for key, tensor in found.items()}
    with whole_file(features_path(run, work)) as part:
        digest = {"weights_sha256": card["weights_sha256"]}
        safetensors.torch.save_file(tensors, part, metadata=digest)


def _is_done(run: Run[ModelSelectionConfig], work: Work) -> bool:
    """Whether the features are there, and of the model's present weights."""
    digest = read_card(checkpoint_path(run, work.model))["weights_sha256"]
    try:
        with safe_open(features_path(run, work), framework="pt") as file:
            return (file.metadata() or {}).get("weights_sha256") == digest
    except (FileNotFoundError, SafetensorError):
        return False


def files(run: Run[ModelSelectionConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    sets = [GENERAL, *task_names(run.config)]
    members = roster(run.config)
    return [features_path(run, Work(images, member.name)) for images in sets for member in members]


if __name__ == "__main__":
    run_stage(extract_features, ModelSelectionConfig, testbed="model_selection")
