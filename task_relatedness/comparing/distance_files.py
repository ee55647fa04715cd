"""Distances of all pairs of encoders as files, one per method."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelgif.experiment.run import Run
from modelgif.storage.tensor_file import SealedFileError, read_sealed, write_sealed
from task_relatedness.config import MeasureConfig, TaskRelatednessConfig
from task_relatedness.encoders.load import encoder_digests
from task_relatedness.method_name import MethodName
from task_relatedness.methods import LAST_STEP, MAPS, WHOLES

MAIN = "modelgif"
_KIND = "distances of encoders"


@dataclass(frozen=True)
class Distances:
    """The distances of M encoders by one method.

    Attributes:
        name: of the method, and what it was applied to.
        tasks: of the encoders.
        matrix: float64 ``[M, M]``, symmetric, zero diagonal.
        per_reference: the distances at each of N references, float64 ``[M, M, N]``, whose mean the
            matrix is; None for a method that compares by all references together.
        zero_cells: how many of each encoder's cells, a step of a field or a map at one reference,
            are zero and say nothing, int64 ``[M]``; None where
            it is not known.
    """

    name: MethodName
    tasks: tuple[str, ...]
    matrix: np.ndarray
    per_reference: np.ndarray | None = None
    zero_cells: np.ndarray | None = None


def method_names(config: MeasureConfig) -> Iterator[MethodName]:
    """Gives the name of everything that the configuration asks for; ModelGiF's are first."""
    paths = [
        (references, target, baseline)
        for references in config.references
        for target in config.targets
        for baseline in config.baselines
    ]
    yield from (MethodName(MAIN, *path) for path in paths)
    for rival in config.rivals:
        if rival in WHOLES:
            yield from (MethodName(rival, references) for references in config.references)
        elif rival == LAST_STEP or MAPS[rival].has_baseline:
            yield from (MethodName(rival, *path) for path in paths)
        else:
            yield from dict.fromkeys(MethodName(rival, *path[:2]) for path in paths)


def read_distances(run: Run[TaskRelatednessConfig]) -> dict[str, Distances]:
    """Returns the distances by every method of the configuration, by the method's name as text.

    Raises:
        modelgif.storage.tensor_file.SealedFileError: when a file is missing or damaged.
        ValueError: when one was made of other encoders than those that are there now.
    """
    digests, found = encoder_digests(run), {}
    for name in method_names(run.config.measure):
        distances, made_from = read_distances_file(distances_path(run, name))
        if made_from.get("encoders") != digests:
            raise ValueError(
                f"{distances_path(run, name)} was not made with the encoders as they are now: run "
                "the stage extract_fields again."
            )
        found[str(name)] = distances
    return found


def distances_path(run: Run[TaskRelatednessConfig], name: MethodName) -> Path:
    """Returns where the distances of a method are."""
    parts = (name.method, name.references, name.target, name.baseline)
    stem = "-".join(part.replace(":", "_") for part in parts if part is not None)
    return run.folder / "distances" / f"{stem}.safetensors"


def write_distances_file(path: Path, distances: Distances, made_from: Mapping[str, Any]) -> None:
    """Writes distances to `path`, whole or not at all.

    Args:
        path: where.
        distances: what.
        made_from: plain JSON, all that they depend on; ``encoders`` has the digests by task.
    """
    header = {
        "name": str(distances.name),
        "tasks": list(distances.tasks),
        "made_from": dict(made_from),
    }
    arrays = ("matrix", "per_reference", "zero_cells")
    tensors: dict[str, Tensor] = {
        key: torch.from_numpy(getattr(distances, key))
        for key in arrays
        if getattr(distances, key) is not None
    }
    write_sealed(path, _KIND, header, tensors)


def read_distances_file(path: Path) -> tuple[Distances, dict[str, Any]]:
    """Returns what `write_distances_file` wrote to `path`: the distances, and what made them.

    Raises:
        modelgif.storage.tensor_file.SealedFileError: when there is no such file, or it is damaged.
    """
    header, tensors = read_sealed(path, _KIND)
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    name, tasks = MethodName.parse(header["name"]), tuple(header["tasks"])
    return Distances(name, tasks, **arrays), header["made_from"]


def is_made(path: Path, made_from: Mapping[str, Any]) -> bool:
    """Returns whether sound distances at `path` were made from these things."""
    try:
        return read_distances_file(path)[1] == made_from
    except SealedFileError:
        return False
