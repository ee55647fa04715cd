"""The roles of an evaluation: who is compared with the victim, and who with whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np

from intellectual_property_protection.member import Member
from modelgif.experiment.seeding import seeded_generator
from modelgif.references.selection import cross_folds
from modelgif.verdict import MatchedBy, ModelKind, matched

# What two models must share to be compared, beside the label set.
LEVELS: tuple[MatchedBy, ...] = get_args(MatchedBy)


@dataclass(frozen=True)
class Roles:
    """The victim and everybody else, with the part of each independent in choosing references.

    Attributes:
        victim: the model that was, or was not, copied.
        members: all others; positions in arrays of scores are positions here.
        folds: ``[M]``, in which fold a model is tested with references that other folds chose; -1
            for models that never choose, which are tested in every fold.
    """

    victim: Member
    members: tuple[Member, ...]
    folds: np.ndarray

    @cached_property
    def names(self) -> list[str]:
        """Names of `members`."""
        return [member.name for member in self.members]

    @cached_property
    def independents(self) -> list[int]:
        """Positions of those from which p-values are taken: they never saw the victim's data."""
        return [
            i
            for i, member in enumerate(self.members)
            if member.role == "independent" and member.data == "other"
        ]

    @cached_property
    def surrogates(self) -> list[int]:
        """Positions of those made from the victim to choose references by, and for nothing else."""
        return [i for i, member in enumerate(self.members) if member.role == "surrogate"]

    @cached_property
    def honest(self) -> list[int]:
        """Positions of the negatives of every attack: independents and honest suspects."""
        return [
            i
            for i, member in enumerate(self.members)
            if member.role in ("independent", "suspect")
            and not member.is_derived
            and member.data == "other"
        ]

    @cached_property
    def on_victims_data(self) -> list[int]:
        """Positions of honest models that were trained on the victim's own data."""
        return [
            i
            for i, member in enumerate(self.members)
            if not member.is_derived and member.data == "victim"
        ]

    @cached_property
    def attacks(self) -> dict[str, list[int]]:
        """Positions of the suspects that were made from the victim, by attack."""
        found: dict[str, list[int]] = {}
        for i, member in enumerate(self.members):
            if member.is_derived and member.role == "suspect":
                found.setdefault(member.attack, []).append(i)
        return found

    @cached_property
    def _alike(self) -> dict[MatchedBy, np.ndarray]:
        """Who may be compared with whom, ``[M, M]`` by level."""
        found = {}
        for level in LEVELS:
            shared = [
                (member.label_set, *kind.shared(level))
                for member, kind in zip(self.members, self.kinds, strict=True)
            ]
            numbers = np.array([shared.index(features) for features in shared])
            found[level] = numbers[:, None] == numbers
        return found

    def alike(self, near: Sequence[int], far: Sequence[int], level: MatchedBy) -> np.ndarray:
        """Returns which of `far` may be compared with which of `near`, bool ``[P, Q]``."""
        return self._alike[level][np.ix_(near, far)]

    def matched(self, model: int, min_independents: int) -> tuple[MatchedBy, list[int]]:
        """Returns the independents that `model` is compared with, less itself, and what they share.

        They have its label set, and are those of its architecture and training where at least
        `min_independents` are, else of its architecture, else all; see `modelgif.verdict.matched`.
        """
        others = self.like_labelled(model)
        if not others:
            return "pooled", []
        found = matched(
            self.kinds[model], [self.kinds[i] for i in others], min_independents=min_independents
        )
        return found.by, [others[row] for row in found.rows]

    def like_labelled(self, model: int) -> list[int]:
        """Returns the independents of `model`'s label set, itself left out."""
        same = self._alike["pooled"][model]
        return [i for i in self.independents if same[i] and i != model]

    @cached_property
    def kinds(self) -> list[ModelKind]:
        """Architecture and training of `members`."""
        return [ModelKind(member.architecture, member.training) for member in self.members]


def roles_of(members: Sequence[Member], *, folds: int, seed: int) -> Roles:
    """Returns the roles of a zoo whose first member is the victim.

    Independents of the victim's label set choose references, in `folds` parts with equal shares of
    every architecture and training.

    Raises:
        ValueError: when the first member is not the victim, or there are fewer independents than
            folds.
    """
    victim, *others = members
    if victim.role != "victim":
        raise ValueError(f"the first member must be the victim, got {victim.name}.")
    parts = np.full(len(others), -1)
    roles = Roles(victim, tuple(others), parts)
    choosing = [i for i in roles.independents if others[i].label_set == victim.label_set]
    kinds = [f"{others[i].architecture}/{others[i].training}" for i in choosing]
    generator = seeded_generator(seed, "folds")
    for fold, inside in enumerate(cross_folds(len(choosing), folds, generator, kinds)):
        parts[np.array(choosing)[inside.numpy()]] = fold
    return roles
