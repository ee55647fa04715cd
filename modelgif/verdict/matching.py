"""Which independents a suspect is compared by: those made as it claims to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MatchedBy = Literal["architecture and training", "architecture", "pooled"]


@dataclass(frozen=True)
class ModelKind:
    """What models must share for their distances to be comparable.

    Attributes:
        architecture: such as ``resnet18``.
        training: the family of recipes, such as ``plain``, ``adversarial`` or ``pruned``.
    """

    architecture: str
    training: str

    def shared(self, by: MatchedBy) -> tuple[str, ...]:
        """Returns what models matched by `by` have in common."""
        return {
            "architecture and training": (self.architecture, self.training),
            "architecture": (self.architecture,),
            "pooled": (),
        }[by]


@dataclass(frozen=True)
class Matched:
    """The independents of a suspect.

    Attributes:
        rows: their positions, ascending.
        by: what they share with it.
        warning: what that means for the verdict, if anything; else empty.
    """

    rows: tuple[int, ...]
    by: MatchedBy
    warning: str


def matched(
    suspect: ModelKind, independents: Sequence[ModelKind], *, min_independents: int = 5
) -> Matched:
    """Returns the independents of the suspect's architecture and training, or the next best.

    The architecture makes more of a difference to fields than a theft does, and adversarial
    training nearly as much: only models made alike are exchangeable, which every p-value assumes.

    Args:
        suspect: its architecture and training, as its owner states or the model shows.
        independents: theirs, one per model.
        min_independents: where fewer independents than this share architecture and training, those
            that share the architecture are taken, and where these are too few, all.

    Raises:
        ValueError: when there is no independent model, or a `min_independents` below 1.

    Example:
        >>> known = [ModelKind("resnet18", "plain")] * 6 + [ModelKind("vgg16", "plain")] * 9
        >>> found = matched(ModelKind("resnet18", "plain"), known)
        >>> found.by, found.rows
        ('architecture and training', (0, 1, 2, 3, 4, 5))
    """
    if not independents or min_independents < 1:
        raise ValueError(
            "expected at least one independent model and min_independents of at least 1, got "
            f"{len(independents)} and {min_independents}."
        )
    for by in ("architecture and training", "architecture"):
        shared = suspect.shared(by)
        rows = tuple(i for i, kind in enumerate(independents) if kind.shared(by) == shared)
        if len(rows) >= min(min_independents, len(independents)):
            return Matched(rows, by, _warning(suspect, independents, rows))
    everyone = tuple(range(len(independents)))
    return Matched(everyone, "pooled", _warning(suspect, independents, everyone))


def _warning(suspect: ModelKind, independents: Sequence[ModelKind], rows: Sequence[int]) -> str:
    alike = sum(independents[i].architecture == suspect.architecture for i in rows)
    if alike < len(rows):
        return (
            f"Only {alike} of {len(rows)} independent models have the architecture "
            f"{suspect.architecture}; others are usually farther away, which makes an innocent "
            "suspect look derived."
        )
    alike = sum(independents[i].training == suspect.training for i in rows)
    if alike < len(rows):
        return (
            f"Only {alike} of {len(rows)} independent models were trained like the suspect "
            f"({suspect.training}); training alone can bring models nearer to each other."
        )
    return ""
