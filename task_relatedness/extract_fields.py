"""Stage 3: compares all encoders with each other, at every kind of references, by every method.

Fields are never stored: they come by in blocks of references, and of each reference the distances
of all pairs remain. A stage that was killed goes on with the next piece of references.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from modelgif.distances.pairs import warn_of_zero_cells
from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import resolve_device
from modelgif.fields.field_settings import FieldSettings
from modelgif.storage.tensor_file import SealedFileError, read_sealed, write_sealed
from modelgif.zoo.recipe import Recipe
from task_relatedness import config as configuration
from task_relatedness.comparing.distance_files import (
    MAIN,
    Distances,
    distances_path,
    is_made,
    method_names,
    write_distances_file,
)
from task_relatedness.comparing.pairwise import Pairs, compare_fields, compare_maps
from task_relatedness.comparing.references import make_references, references, starts
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.encoders.load import encoder_digests, encoders
from task_relatedness.method_name import MethodName
from task_relatedness.methods import LAST_STEP, MAPS, WHOLES, whole_distances

# References that a process compares at a time; what is lost when it is killed.
_PIECE = 16
_KIND = "piece of distances"


@dataclass(frozen=True)
class _Piece:
    """What one process does at a time.

    Attributes:
        name: of the method; one that fields give stands for all of these.
        first: the first reference.
        stop: the one after the last.
        path: where its distances go; the end result of a method that takes all references at once.
    """

    name: MethodName
    first: int
    stop: int
    path: Path


def extract_fields(run: Run[TaskRelatednessConfig]) -> None:
    """Writes the distances of all encoders by every method; what is there already is skipped."""
    # What this process read before may have been made anew.
    encoders.cache_clear()
    references.cache_clear()
    digests = encoder_digests(run)
    make_references(run)
    missing = {
        name: made_from
        for name in method_names(run.config.measure)
        if not is_made(distances_path(run, name), made_from := _made_from(run, name, digests))
    }
    pieces = {
        piece.path: piece
        for name, made_from in missing.items()
        for piece in _pieces(run, name, made_from)
    }
    todo = [piece for piece in pieces.values() if not _is_there(piece)]
    workers = workers_on(resolve_device(run.config.device))
    for_each(partial(_compare, run, digests), todo, title="compare", unit="piece", workers=workers)
    for name, made_from in missing.items():
        if name.method not in WHOLES:
            _merge(run, name, made_from)
    shutil.rmtree(_parts(run), ignore_errors=True)


def _compare(run: Run[TaskRelatednessConfig], digests: Mapping[str, str], piece: _Piece) -> None:
    """Writes the distances of all pairs of encoders at some references."""
    name, models, measure = piece.name, encoders(run), run.config.measure
    kind = cast(configuration.References, name.references)
    points, rows = references(run, kind), slice(piece.first, piece.stop)
    if name.method in WHOLES:
        matrix = whole_distances(name.method, list(models.values()), points.images)
        found = Distances(name, tuple(models), matrix.numpy())
        write_distances_file(piece.path, found, _made_from(run, name, digests))
        return
    assert name.target is not None
    baseline = starts(run, kind, cast(configuration.Baseline, name.baseline or "zero"))
    if name.method in MAPS:
        describe = partial(MAPS[name.method].describe, target=name.target)

        def maps(model: Any, block: slice) -> Tensor:
            start = baseline[block] if isinstance(baseline, Tensor) else baseline
            return describe(model, points.images[block], baseline=start)

        numbers = points.images[0].numel()
        results = {name.method: compare_maps(models, maps, rows, numbers)}
    else:
        settings = FieldSettings(
            target=name.target,
            baseline=baseline,
            n_steps=measure.n_steps,
            rule=measure.rule,
            dtype=torch.float32,
        )
        recipe = Recipe(points, settings, resolve_device(run.config.device))
        average = measure.average_channels
        whole, last = compare_fields(models, recipe, rows, average_channels=average)
        results = {MAIN: whole, LAST_STEP: last}
    tensors = {
        f"{method}.{key}": value
        for method, pairs in results.items()
        for key, value in pairs._asdict().items()
    }
    write_sealed(piece.path, _KIND, {}, tensors)


def _merge(run: Run[TaskRelatednessConfig], name: MethodName, made_from: Mapping[str, Any]) -> None:
    """Writes a method's distances, put together from its pieces."""
    parts = []
    for piece in _pieces(run, name, made_from):
        _, tensors = read_sealed(piece.path, _KIND)
        parts.append(Pairs(*(tensors[f"{name.method}.{key}"] for key in Pairs._fields)))
    per_reference = torch.cat([part.per_reference for part in parts], -1)
    zeros = torch.stack([part.zero_cells for part in parts]).sum(0)
    tasks = run.config.tasks
    n_cells = per_reference.shape[-1] * (run.config.measure.n_steps if name.method == MAIN else 1)
    warn_of_zero_cells(zeros.tolist(), [f"{task} by {name}" for task in tasks], n_cells)
    found = Distances(
        name, tasks, per_reference.mean(-1).numpy(), per_reference.numpy(), zeros.numpy()
    )
    write_distances_file(distances_path(run, name), found, made_from)


def _pieces(
    run: Run[TaskRelatednessConfig], name: MethodName, made_from: Mapping[str, Any]
) -> list[_Piece]:
    """What is to be done for a method."""
    count = len(references(run, cast(configuration.References, name.references)))
    if name.method in WHOLES:
        return [_Piece(name, 0, count, distances_path(run, name))]
    text = json.dumps(dict(made_from), sort_keys=True)
    stem = hashlib.sha256(text.encode()).hexdigest()[:16]
    return [
        _Piece(name, first, min(first + _PIECE, count), _parts(run) / f"{stem}-{first}.safetensors")
        for first in range(0, count, _PIECE)
    ]


def _is_there(piece: _Piece) -> bool:
    """Whether a piece was made; its name is that of what it is made from."""
    if piece.name.method in WHOLES:
        return False
    try:
        read_sealed(piece.path, _KIND)
    except SealedFileError:
        return False
    return True


def _made_from(
    run: Run[TaskRelatednessConfig], name: MethodName, digests: Mapping[str, str]
) -> dict[str, Any]:
    """All that a method's distances depend on; alike for what is made of the same fields."""
    measure, kind = run.config.measure, cast(configuration.References, name.references)
    made_from = {
        "encoders": dict(digests),
        "references": references(run, kind).sha256(),
        "method": "fields" if name.method in (MAIN, LAST_STEP) else name.method,
        "target": name.target,
        "baseline": name.baseline,
    }
    if made_from["method"] == "fields":
        fields = {"n_steps", "rule", "average_channels"}
        made_from |= measure.model_dump(mode="json", include=fields)
    return made_from


def _parts(run: Run[TaskRelatednessConfig]) -> Path:
    return run.folder / "distances" / "parts"


def files(run: Run[TaskRelatednessConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    return [distances_path(run, name) for name in method_names(run.config.measure)]


if __name__ == "__main__":
    run_stage(extract_fields, TaskRelatednessConfig, testbed="task_relatedness")
