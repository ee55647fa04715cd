"""Comparisons of one model with the victim, as a file: every method's number at every candidate."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from intellectual_property_protection.evaluation_config import Source
from modelgif.storage.atomic import whole_file


@dataclass
class Comparison:
    """What has been computed of one model and the victim, each with a digest of its making.

    Attributes:
        per_reference: by method, distances ``[N]`` at every candidate, float64.
        of_sets: by ``METHOD@SOURCE``, one distance.
        made_from: by the same names, `digest` of all that the numbers depend on.
    """

    per_reference: dict[str, np.ndarray] = field(default_factory=dict)
    of_sets: dict[str, float] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)

    def holds(self, name: str, made_from: str) -> bool:
        """Whether `name` is here and was made from the same things."""
        return self.made_from.get(name) == made_from

    def put(self, name: str, value: np.ndarray | float, made_from: str) -> None:
        """Adds an array of distances, or the distance of a set, replacing the one before.

        Raises:
            ValueError: when a number is not finite: leave out what cannot be measured.
        """
        if not np.isfinite(value).all():
            raise ValueError(f"{name} is not finite: its model's outputs or weights overflow.")
        if isinstance(value, np.ndarray):
            self.per_reference[name] = value
        else:
            self.of_sets[name] = value
        self.made_from[name] = made_from


def digest(*things: object) -> str:
    """Returns a digest of what a number depends on; equal things give equal digests."""
    return hashlib.sha256(json.dumps(things, sort_keys=True).encode()).hexdigest()


def write_comparison(path: str | os.PathLike[str], comparison: Comparison) -> None:
    """Writes `comparison` to `path` (``.h5``), whole or not at all."""
    with whole_file(path) as part, h5py.File(part, "w", libver="latest") as file:
        for name, value in {**comparison.per_reference, **comparison.of_sets}.items():
            array = np.asarray(value, dtype=np.float64)
            # Checksums need chunks, and a lone number has none.
            options = {"fletcher32": True} if array.ndim else {}
            data = file.create_dataset(name, data=array, **options)
            data.attrs["made_from"] = comparison.made_from[name]


def read_comparison(path: str | os.PathLike[str]) -> Comparison:
    """Returns the comparison at `path`, or an empty one where there is none.

    Raises:
        OSError: when the file is damaged; moved away, it is made again.
    """
    found = Comparison()
    if not Path(path).exists():
        return found
    with h5py.File(path, "r") as file:
        for name, data in file.items():
            value = np.asarray(data)
            found.put(name, value if value.ndim else value.item(), data.attrs["made_from"])
    return found


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of all models with the victim, side by side.

    Attributes:
        per_reference: by method, ``[M, N]``; a row of NaN for a model that the method cannot
            describe.
        of_sets: by ``METHOD@SOURCE``, ``[M]``; NaN for such a model.
        ids: of the candidates ``[N]``.
    """

    per_reference: Mapping[str, np.ndarray]
    of_sets: Mapping[str, np.ndarray]
    ids: Sequence[str]

    def at(self, method: str, source: Source) -> np.ndarray:
        """Returns a per-reference method's distances at a source's candidates, ``[M, n]``."""
        rows = [i for i, name in enumerate(self.ids) if name.startswith(f"{source}/")]
        return self.per_reference[method][:, rows]


def side_by_side(
    comparisons: Sequence[Comparison],
    ids: Sequence[str],
    per_reference: Sequence[str],
    of_sets: Sequence[str],
) -> Comparisons:
    """Returns the methods `per_reference` and the ``METHOD@SOURCE`` of `of_sets` of all models."""
    nowhere = np.full(len(ids), np.nan)
    return Comparisons(
        {
            name: np.stack([one.per_reference.get(name, nowhere) for one in comparisons])
            for name in per_reference
        },
        {
            name: np.array([one.of_sets.get(name, np.nan) for one in comparisons])
            for name in of_sets
        },
        ids,
    )
