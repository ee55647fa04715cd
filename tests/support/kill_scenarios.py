"""Small runs of everything that writes files, each of which can be killed and started again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

import modelgif.zoo.extract
from model_unlearning.config import UnlearningConfig
from model_unlearning.train import train
from modelgif.experiment.config import load_config
from modelgif.experiment.networks import convnet, mobilenet
from modelgif.experiment.record import Record, read_records, write_records
from modelgif.experiment.run import open_run
from modelgif.references.file import read_references, write_references
from modelgif.references.references import References
from modelgif.reporting.figure import heat_map, save_figure
from modelgif.reporting.report import Report, Section, write_report
from modelgif.reporting.table import write_csv, write_workbook
from modelgif.sketches.file import read_sketch, write_sketch
from modelgif.sketches.index import SketchIndex
from modelgif.sketches.sketcher import sketch_model
from modelgif.storage.tensor_file import SealedFileError
from modelgif.zoo.extract import extract
from modelgif.zoo.stream import stream_distances

SETTINGS = {"n_steps": 3, "baseline": 0.5}
# Two trainings, the second of which goes on from the snapshot of the first.
TRAINING = [
    "replicates=2",
    "training.epochs=2",
    "training.milestones=[1]",
    "methods=[{recipe: approximate, epochs: 1}]",
    "checkpoint_every=1",
    "network.width=2",
]


def zoo() -> dict[str, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {"a": convnet(1, 5, 4), "b": convnet(1, 5, 4), "c": mobilenet(1, 5, 4)}


def references() -> References:
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return References(images, tuple(f"r{i}" for i in range(6)))


def training(folder: Path) -> None:
    """Trains a small zoo with snapshots, as a testbed's stage does."""
    config = load_config(UnlearningConfig, "model_unlearning/configs/smoke.yaml", TRAINING)
    train(open_run(config, testbed="model_unlearning", name="smoke", root=folder))


def extraction(folder: Path) -> None:
    """Describes three models, two references at a time."""
    path = folder / "references.safetensors"
    if not path.exists():
        write_references(path, references())
    modelgif.zoo.extract._BLOCK_NUMBERS = 2 * 3 * 64
    done = extract(zoo(), read_references(path), folder / "fields", progress=False, **SETTINGS)
    done.raise_for_failures()


def streaming(folder: Path) -> None:
    """Compares three models, two references at a time."""
    found = stream_distances(
        zoo(),
        references(),
        block=2,
        against="a",
        checkpoint=folder / "sums.safetensors",
        progress=False,
        **SETTINGS,
    )
    write_csv(folder / "distances.csv", _frame(found.matrix.numpy()))


def sketching(folder: Path) -> None:
    """Sketches three models and puts the sketches into an index."""
    sketches = {}
    for name, model in zoo().items():
        path = folder / f"{name}.sketch"
        try:
            sketches[name] = read_sketch(path)
        except SealedFileError:
            sketch = sketch_model(model, references(), size=64, name=name, **SETTINGS)
            write_sketch(path, sketch)
            sketches[name] = sketch
    index = SketchIndex(folder / "index")
    for name, sketch in sketches.items():
        if name not in index.names:
            index.add({name: sketch})


def reporting(folder: Path) -> None:
    """Writes records, and from them the table, the figure and the report."""
    matrix = np.array([[0, 0.2, 0.5], [0.2, 0, 0.4], [0.5, 0.4, 0]])
    path = folder / "records.csv"
    write_records(
        path,
        [
            Record("t", "c-0", "field", f"{i}{j}", "distance", float(matrix[i, j]), 3, None, 0, "x")
            for i in range(3)
            for j in range(i)
        ],
    )
    records = read_records(path)
    write_workbook(folder / "results.xlsx", {"records": records})
    figure = heat_map(matrix, ["a", "b", "c"])
    save_figure(figure, folder / "figures" / "heat_map.png")
    section = Section("Distances", table=records, figure=figure, caption="All pairs.")
    write_report(folder / "report.html", Report("Which?", "b.", [section], {"seed": 0}, "again"))


def _frame(matrix: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(matrix, columns=pd.Index(["a", "b", "c"]))


SCENARIOS: dict[str, Callable[[Path], None]] = {
    scenario.__name__: scenario
    for scenario in (training, extraction, streaming, sketching, reporting)
}
