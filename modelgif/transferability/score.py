"""What a transferability score declares of itself."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Needs = Literal["features", "probabilities"]
Invariance = Literal["class names", "order", "rotation", "scale"]


class Parts(NamedTuple):
    """The parts of a score that is a sum over the compared models.

    Attributes:
        compute: gives the parts of one model, a `NamedTuple`.
        signs: by part, 1 where more is better and -1 where less is.
    """

    compute: Callable[..., tuple[float, ...]]
    signs: Mapping[str, Literal[1, -1]]


@dataclass(frozen=True)
class Score:
    """A transferability score: what it needs and what holds of it. Higher is always better.

    The declared properties hold at the default options, and are tested for each registered score.

    Attributes:
        compute: returns the score of features, or of probabilities, and labels ``[N]``. Its name is
            the score's; its keyword arguments are the options, `seed` among them where it draws at
            random.
        title: the name in tables.
        measures: what it measures, a phrase.
        source: the paper.
        needs: features ``[N, D]``, or class probabilities ``[N, Z]`` of the source model's head.
        invariances: what may change without changing the score: the names of the target classes,
            the order of the samples, a rotation of the features, or their scale.
        saturates_at: upper bound, which is reached on clearly separated classes and warned of with
            a `SaturationWarning`; None where there is no such constant.
        parts: for a score that is a sum over the compared models; None for any other.
    """

    compute: Callable[..., float]
    title: str
    measures: str
    source: str
    needs: Needs = "features"
    invariances: frozenset[Invariance] = frozenset()
    saturates_at: float | None = None
    parts: Parts | None = None

    @property
    def name(self) -> str:
        """The name by which it is registered, configured and called."""
        return self.compute.__name__

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `compute` and their defaults."""
        parameters = inspect.signature(self.compute).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def is_seeded(self) -> bool:
        """Whether it draws at random, from the option `seed`; any other score is deterministic."""
        return "seed" in self.options
