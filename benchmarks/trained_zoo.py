"""Trained models to measure on: the demo's zoo of digit classifiers, made when it is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import yaml
from torch import Tensor

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.train import train
from modelgif.data.data import load_data
from modelgif.experiment.config import load_config
from modelgif.experiment.run import open_run
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.load import load_model
from modelgif.references.references import References, random_references
from modelgif.storage.field_header import FieldHeader, Storage
from modelgif.storage.field_store import FieldStore

_CONFIG = Path("intellectual_property_protection/configs/demo.yaml")


@dataclass(frozen=True)
class Zoo:
    """The finished zoo of a run of the testbed intellectual_property_protection.

    Attributes:
        label: of the run.
        roster: a row a model: ``model``, ``role``, ``recipe``, ``architecture``, and others.
        paths: of the checkpoints, in the order of the roster.
        references: drawn from the training images.
        baseline: the mean image.
    """

    label: str
    roster: pd.DataFrame
    paths: list[Path]
    references: References
    baseline: Tensor


def open_zoo(folder: Path | None, *, references: int) -> Zoo:
    """Returns the zoo of the run in `folder`, by default the demo's, trained if need be."""
    folder = demo_run() if folder is None else folder
    roster = pd.read_csv(folder / "zoo" / "roster.csv")
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    data = load_data(**settings["data"])
    points = _draw(data.train_images, references)
    paths = [folder / "zoo" / f"{name}.safetensors" for name in roster["model"]]
    return Zoo(folder.name, roster, paths, points, data.mean)


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
    points = _draw(data.train_images, references)
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


def _draw(images: Tensor, count: int) -> References:
    ids = [f"train/{i}" for i in range(len(images))]
    generator = torch.Generator().manual_seed(0)
    return random_references(images, ids, count, generator=generator)


def _checkpoints(folder: Path | None) -> list[Path]:
    return sorted((folder or demo_run() / "zoo").glob("*.safetensors"))


def demo_run() -> Path:
    """Returns the folder of the demo's run, its zoo trained."""
    config = load_config(IPPConfig, _CONFIG, [])
    run = open_run(config, testbed="intellectual_property_protection", name=_CONFIG.stem)
    train(run)
    return run.folder
