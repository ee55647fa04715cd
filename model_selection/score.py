"""Stage 4: scores every pretrained model on every task, from its features alone."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from safetensors import safe_open
from torch import Tensor

from model_selection.config import ModelSelectionConfig
from model_selection.extract_features import GENERAL, features_path
from model_selection.extract_features import Work as Extracted
from model_selection.scorers import (
    TaskFeatures,
    grid_readings,
    half,
    part_columns,
    readings,
    summed,
)
from model_selection.tasks import task_names
from model_selection.train import n_workers
from model_selection.zoo import PretrainedModel, roster
from modelgif.experiment.parallel import for_each
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import derive_seed, resolve_device, seeded_generator
from modelgif.reporting.table import write_csv
from modelgif.transferability import scores

# Columns of ``scores/<model>/<task>.csv``; `half` is empty for a score of all samples, n_sigma and
# dt for any but those of the grid.
COLUMNS = (
    *("model", "task", "weights_sha256"),
    *("score", "half", "n_sigma", "dt", "value", "seconds", "note"),
)


class Work(NamedTuple):
    """One model on one task."""

    model: str
    task: str


def score(run: Run[ModelSelectionConfig]) -> None:
    """Writes ``scores/<model>/<task>.csv``, where it is missing, and what all of them hold.

    ``scores.csv`` holds the scores of all samples, ``halves.csv`` those of random halves, and
    ``grid.csv`` those of other settings of the descent.
    """
    members, tasks = roster(run.config), task_names(run.config)
    check_labels(run, members, tasks)
    work = [Work(member.name, task) for task in tasks for member in members]
    missing = [each for each in work if not _is_done(run, each)]
    workers = n_workers(run.config)
    for_each(partial(_score, run), missing, title="score", unit="sheet", workers=workers)
    rows = with_sums(pd.concat([_read(run, each) for each in work], ignore_index=True))
    of_grid, of_half = rows["n_sigma"].notna(), rows["half"].notna()
    plain = ["model", "task", "score", "value", "seconds", "note"]
    halves = ["model", "task", "score", "half", "value"]
    grid = ["model", "task", "score", "n_sigma", "dt", "value"]
    write_csv(run.folder / "scores.csv", pd.DataFrame(rows.loc[~of_grid & ~of_half, plain]))
    write_csv(run.folder / "halves.csv", pd.DataFrame(rows.loc[of_half, halves]))
    write_csv(run.folder / "grid.csv", pd.DataFrame(rows.loc[of_grid, grid]))


def with_sums(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns `rows` with the parts of a score replaced by the score, a sum over the models.

    Args:
        rows: of all models and tasks, with `COLUMNS`.
    """
    names = [str(name) for name in rows["score"]]
    is_part = pd.Series(["." in name for name in names], index=rows.index)
    found, parts = [pd.DataFrame(rows[~is_part])], pd.DataFrame(rows[is_part])
    for score in dict.fromkeys(name.partition(".")[0] for name in names if "." in name):
        columns = part_columns(scores()[score])
        own = pd.DataFrame(parts[parts["score"].isin(columns)])
        for _, group in own.groupby(["task", "half"], dropna=False, sort=False):
            values = group.pivot(index="model", columns="score", values="value")
            whole = pd.DataFrame(group[group["score"] == columns[0]]).set_index("model")
            whole["score"] = score
            whole["value"] = summed(score, values.loc[whole.index, columns].to_numpy())
            whole["seconds"] = group.groupby("model")["seconds"].sum()
            found.append(whole.reset_index())
    return pd.concat(found, ignore_index=True)


def check_labels(
    run: Run[ModelSelectionConfig], members: Sequence[PretrainedModel], tasks: Sequence[str]
) -> None:
    """Refuses models that were not given the same images of a task in the same order.

    Raises:
        ValueError: naming the task and the model whose labels differ from the first model's.
    """
    for task in tasks:
        first, *others = members
        expected = read_task(run, Work(first.name, task)).labels
        for member in others:
            labels = read_task(run, Work(member.name, task)).labels
            if not torch.equal(labels, expected):
                raise ValueError(
                    f"the features of {member.name} for {task} have other labels than those of "
                    f"{first.name}: extract both again from one configuration."
                )


def read_task(run: Run[ModelSelectionConfig], work: Work) -> TaskFeatures:
    """Returns what a model makes of a task's images, of the split that is scored."""
    split = run.config.scores.split
    with safe_open(features_path(run, Extracted(work.task, work.model)), framework="pt") as file:
        probabilities = f"{split}_probabilities"
        return TaskFeatures(
            file.get_tensor(f"{split}_features"),
            file.get_tensor(f"{split}_labels"),
            file.get_tensor(probabilities) if probabilities in file.keys() else None,  # noqa: SIM118
        )


def read_general(run: Run[ModelSelectionConfig], model: str) -> Tensor:
    """Returns a model's features of the general images, ``[M, D]``."""
    with safe_open(features_path(run, Extracted(GENERAL, model)), framework="pt") as file:
        return file.get_tensor("features")


def _score(run: Run[ModelSelectionConfig], work: Work) -> None:
    sheet = pd.DataFrame(_rows(run, work), columns=list(COLUMNS))
    write_csv(_path(run, work), sheet)


def _rows(run: Run[ModelSelectionConfig], work: Work) -> Iterator[dict[str, Any]]:
    config, device = run.config.scores, resolve_device(run.config.device)
    task, of = read_task(run, work).to(device), work._asdict()
    of["weights_sha256"] = _weights(run, work)
    general = read_general(run, work.model).to(device)
    compute = partial(
        readings,
        general=general,
        ped=config.ped,
        nleep_max_components=config.nleep_max_components,
        seed=derive_seed(run.config.seed, "scores", work.task),
    )
    for reading in compute(task, names=config.names):
        yield of | reading._asdict()
    for i in range(config.halves.count):
        # Of the seed and the task alone, so that all models see the same images.
        generator = seeded_generator(run.config.seed, "half", work.task, i)
        rows = half(task.labels.cpu(), generator).to(device)
        for reading in compute(task.rows(rows), names=config.halves.scores):
            yield of | reading._asdict() | {"half": i}
    if config.ped.grid is not None:
        values = grid_readings(task, general, config.ped.grid)
        for n_sigma, of_sigma in zip(config.ped.grid.n_sigma, values, strict=True):
            for dt, value in zip(config.ped.grid.dt, of_sigma, strict=True):
                point = {"score": "logme+ped", "n_sigma": n_sigma, "dt": dt, "value": value}
                yield of | point


def _is_done(run: Run[ModelSelectionConfig], work: Work) -> bool:
    """Whether the scores are there, and of the features that are there."""
    there = _path(run, work).exists()
    return there and _read(run, work)["weights_sha256"].iloc[0] == _weights(run, work)


def _read(run: Run[ModelSelectionConfig], work: Work) -> pd.DataFrame:
    # A hash may look like a number.
    return pd.read_csv(_path(run, work), dtype={"weights_sha256": str})


def _weights(run: Run[ModelSelectionConfig], work: Work) -> str:
    with safe_open(features_path(run, Extracted(work.task, work.model)), framework="pt") as file:
        return file.metadata()["weights_sha256"]


def _path(run: Run[ModelSelectionConfig], work: Work) -> Path:
    return run.folder / "scores" / work.model / f"{work.task}.csv"


def files(run: Run[ModelSelectionConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [run.folder / f"{name}.csv" for name in ("scores", "halves", "grid")]


if __name__ == "__main__":
    run_stage(score, ModelSelectionConfig, testbed="model_selection")
