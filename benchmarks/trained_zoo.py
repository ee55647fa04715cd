"""Trained models to measure on: the demo's zoo of digit classifiers, made when it is missing."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.train import checkpoint_path, train
from intellectual_property_protection.zoo import roster
from modelgif.experiment.config import load_config
from modelgif.experiment.data import load_data
from modelgif.experiment.run import open_run
from modelgif.field import gradient_field
from modelgif.field_header import FieldHeader, Storage
from modelgif.loading import load_model
from modelgif.reference import References, random_references
from modelgif.store import FieldStore

_CONFIG = Path("intellectual_property_protection/configs/demo.yaml")


def zoo_fields(
    folder: Path | None, *, models: int, references: int, n_steps: int
) -> tuple[dict[str, Tensor], References]:
    """Returns fields ``[N, S, 1, 8, 8]`` by model, and the references.

    Args:
        folder: of checkpoints; by default those of the demo, trained if need be.
        models: how many, taken evenly from the zoo.
        references: N, drawn from the digits.
        n_steps: S.
    """
    data = load_data(name="digits")
    ids = [f"train/{i}" for i in range(len(data.train_images))]
    generator = torch.Generator().manual_seed(0)
    points = random_references(data.train_images, ids, references, generator=generator)
    paths = _checkpoints(folder)
    every = max(1, len(paths) // models)
    return {
        path.stem: gradient_field(
            load_model(f"file:{path}"), points.images, baseline=data.mean, n_steps=n_steps
        )
        for path in paths[::every][:models]
    }, points


def header(model: str, references: References, n_steps: int, storage: Storage) -> FieldHeader:
    """Returns what a store says of a field of `zoo_fields`."""
    return FieldHeader(
        model=model,
        weights_sha256="",
        target="predicted_class",
        baseline="mean",
        rule="gausslegendre",
        n_steps=n_steps,
        cumulative=True,
        scale_by_path=True,
        dtype="float32",
        storage=storage,
        references_sha256=references.sha256(),
        config_sha256="",
        versions={},
    )


def write_stores(
    folder: Path, fields: Mapping[str, Tensor], references: References, storage: Storage = "float32"
) -> None:
    """Writes each field as a store of its model's name."""
    for name, field in fields.items():
        about = header(name, references, field.shape[1], storage)
        with FieldStore.create(
            folder / f"{name}.h5", about, references.ids, field.shape[2:]
        ) as store:
            store.append(field)


def _checkpoints(folder: Path | None) -> list[Path]:
    if folder is not None:
        return sorted(folder.glob("*.safetensors"))
    config = load_config(IPPConfig, _CONFIG, [])
    run = open_run(config, testbed="intellectual_property_protection", name=_CONFIG.stem)
    train(run)
    return [checkpoint_path(run, member) for member in roster(config)]
