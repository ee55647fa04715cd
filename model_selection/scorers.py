"""All scores of one model on one task, each with its time and with what it warned of."""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from model_selection.scoring_config import GridConfig, PedConfig, ScoreName
from modelgif.transferability import (
    Score,
    logme,
    ped_features,
    ped_grid,
    scaled_sum,
    scores,
)

T = TypeVar("T")


class TaskFeatures(NamedTuple):
    """What a pretrained model makes of a task's images.

    Attributes:
        features: ``[N, D]``.
        labels: classes of the task, ``[N]``.
        probabilities: of the source model's own classes, ``[N, Z]``; None where it has none.
    """

    features: Tensor
    labels: Tensor
    probabilities: Tensor | None = None

    def rows(self, chosen: Tensor) -> "TaskFeatures":
        """Returns the rows `chosen` of everything."""
        inside = None if self.probabilities is None else self.probabilities[chosen]
        return TaskFeatures(self.features[chosen], self.labels[chosen], inside)

    def to(self, device: torch.device) -> "TaskFeatures":
        """Returns everything on `device`."""
        inside = None if self.probabilities is None else self.probabilities.to(device)
        return TaskFeatures(self.features.to(device), self.labels.to(device), inside)


class Reading(NamedTuple):
    """One score.

    Attributes:
        score: its name; ``<base>+ped`` after potential energy descent, ``<score>.<part>`` for a
            part of one that is a sum over models.
        value: higher is better, but for a part with the sign −1; NaN when there is none.
        seconds: what it took.
        note: why there is none, or what the score warned of.
    """

    score: str
    value: float
    seconds: float
    note: str


def readings(
    task: TaskFeatures,
    general: Tensor,
    names: Sequence[ScoreName],
    ped: PedConfig,
    *,
    nleep_max_components: int | None = None,
    seed: int = 0,
) -> Iterator[Reading]:
    """Gives the scores `names`, and those of `ped.bases` that are among them after descent.

    A score that refuses its input, or that asks for probabilities a model does not have, is NaN
    with a note.

    Args:
        task: of the model.
        general: its features of general images, ``[M, D]``.
        names: scores.
        ped: potential energy descent.
        nleep_max_components: at most so many components of NLEEP's mixture.
        seed: of scores that draw at random.
    """
    known = scores()
    options = {n: {"seed": seed % 2**32} if s.is_seeded else {} for n, s in known.items()}
    n_components = 5 * len(task.labels.unique())
    options["nleep"]["n_components"] = min(n_components, nleep_max_components or n_components)
    for name in names:
        if (parts := known[name].parts) is not None:
            compute = partial(parts.compute, task.features, task.labels)
            yield from _read(part_columns(known[name]), compute)
        else:
            compute = partial(_score, known[name], task, **options[name])
            yield from _read([name], compute)
    bases = [name for name in ped.bases if name in names]
    if not bases:
        return
    descend = partial(ped_features, general=general, n_sigma=ped.n_sigma, dt=ped.dt)
    found, seconds, note = _tried(lambda: descend(task.features, task.labels))
    for name in bases:
        if found is None:
            yield Reading(f"{name}+ped", math.nan, seconds, note)
            continue
        moved = task._replace(features=found[0])
        compute = partial(_score, known[name], moved, **options[name])
        for own in _read([f"{name}+ped"], compute):
            both = "; ".join(filter(None, (note, own.note)))
            yield own._replace(seconds=seconds + own.seconds, note=both)


def grid_readings(task: TaskFeatures, general: Tensor, grid: GridConfig) -> np.ndarray:
    """Returns LogME after descent at every setting, ``[len(n_sigma), len(dt)]``.

    All are NaN where the descent or the score refuses its input.
    """
    grid_of = partial(ped_grid, score=logme, n_sigma=grid.n_sigma, dt=grid.dt)
    found, _, _ = _tried(lambda: grid_of(task.features, task.labels, general=general))
    return np.full((len(grid.n_sigma), len(grid.dt)), math.nan) if found is None else found


def half(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Returns the rows of a random half of the samples, drawn within every class, ascending.

    The odd sample of a class is in or out at random, but no class loses its last one.
    """
    chosen = []
    for c in labels.unique():
        rows = torch.nonzero(labels == c).flatten()
        odd = int(torch.randint(2, (), generator=generator)) if len(rows) % 2 else 0
        order = torch.randperm(len(rows), generator=generator)
        chosen.append(rows[order[: max(len(rows) // 2 + odd, 1)]])
    return torch.cat(chosen).sort().values


def part_columns(score: Score) -> list[str]:
    """Returns the names of a score's parts, such as ``ncti.geometry``; none without parts."""
    return [] if score.parts is None else [f"{score.name}.{part}" for part in score.parts.signs]


def summed(name: str, parts: np.ndarray) -> np.ndarray:
    """Returns a score that is a sum over the compared models, ``[M]``.

    Args:
        name: of the score, such as ``ncti``.
        parts: in the order of the score's signs, ``[M, K]``; a model with a NaN is not compared
            and stays NaN.

    Raises:
        ValueError: for a score without parts.
    """
    declared = scores()[name].parts
    if declared is None:
        raise ValueError(f"{name} is a score of one model, not a sum over models.")
    known = np.isfinite(parts).all(1)
    result = np.full(len(parts), math.nan)
    if known.any():
        result[known] = scaled_sum(parts[known].tolist(), signs=list(declared.signs.values()))
    return result


def _score(score: Score, task: TaskFeatures, **options: int) -> tuple[float]:
    inputs = task.features
    if score.needs == "probabilities":
        if task.probabilities is None:
            raise ValueError("the model has no classes of its own")
        inputs = task.probabilities
    return (score.compute(inputs, task.labels, **options),)


def _read(names: Sequence[str], compute: Callable[[], Sequence[float]]) -> Iterator[Reading]:
    """Gives the values that `compute` returns, one per name."""
    found, seconds, note = _tried(compute)
    values = [math.nan] * len(names) if found is None else list(found)
    for name, value in zip(names, values, strict=True):
        if math.isfinite(value) or found is None:
            yield Reading(name, value, seconds / len(names), note)
        else:
            why = "; ".join(filter(None, (note, f"the score is {value}")))
            yield Reading(name, math.nan, seconds / len(names), why)


def _tried(compute: Callable[[], T]) -> tuple[T | None, float, str]:
    """Returns the result, the seconds, and the warnings, or None and the refusal."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result, refusal = compute(), []
        except ValueError as error:
            result, refusal = None, [str(error)]
    seconds = time.perf_counter() - start
    notes = dict.fromkeys([*(str(warning.message) for warning in caught), *refusal])
    return result, seconds, "; ".join(notes)
