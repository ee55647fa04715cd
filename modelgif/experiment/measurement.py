"""Measurements: what a testbed's statistics give, before it is known under which conditions."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from modelgif.experiment.record import Record
from modelgif.experiment.run import Run, commit


class Measurement(NamedTuple):
    """One number about one subject; a record without its conditions.

    Attributes:
        subject: what was measured: a model, a checkpoint, an attack, a difference of two.
        quantity: what the number is.
        value: the number.
        n: how many observations it rests on.
        spread: half the width of its 95 % interval, where there is one.
    """

    subject: str
    quantity: str
    value: float
    n: int
    spread: float | None = None


def to_records(run: Run[Any], found: Mapping[str, Iterable[Measurement]]) -> list[Record]:
    """Returns the measurements of each method as records of `run`, made by the present code."""
    now, seed = commit(), run.config.seed
    return [
        Record(run.testbed, run.label, method, seed=seed, commit=now, **measurement._asdict())
        for method, measurements in found.items()
        for measurement in measurements
    ]
