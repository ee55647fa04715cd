"""A score: one number per model, lower for models made from the victim."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intellectual_property_protection.scoring.roles import Roles
from modelgif.verdict.combination import LARGEST_DEVIATION


@dataclass(frozen=True)
class Score:
    """Scores of all models, with the references of every fold.

    Attributes:
        values: ``[K, M]``, or ``[K, M, B]`` for B draws of the references; one row where no
            independent took part in choosing references. NaN stands for a model that the method
            cannot describe.
        folds: ``[M]``, see `intellectual_property_protection.scoring.roles.Roles`.
        contributions: of each reference, ``[M, N]``, where the score is their mean and the same
            references are used in all folds.
    """

    values: np.ndarray
    folds: np.ndarray
    contributions: np.ndarray | None = None

    @property
    def own(self) -> np.ndarray:
        """The score of each model where it took no part in the choice, ``[M]``.

        Models that take part in no fold get their mean over folds.
        """
        if len(self.values) == 1:
            return self.values[0]
        inside = self.folds >= 0
        own = self.values.mean(0)
        own[inside] = self.values[self.folds[inside], np.flatnonzero(inside)]
        return own

    def known(self, models: Sequence[int]) -> list[int]:
        """Returns those of `models` that the method can describe."""
        return [i for i in models if np.isfinite(self.values[:, i]).all()]

    def compare(self, near: Sequence[int], far: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns how often each of `near` scores below, and above, each of `far`; ``[P, Q]`` each.

        Both are scored with the references of the fold in which the second model is tested; where
        it is tested in every fold, the shares of folds are given. What is missing is a tie.
        """
        near_, far_ = np.asarray(near, dtype=int), np.asarray(far, dtype=int)
        fold = self.folds[far_] if len(self.values) > 1 else np.zeros(len(far_), dtype=int)
        one = fold >= 0
        shape = (len(near_), len(far_), *self.values.shape[2:])
        below, above = np.empty(shape), np.empty(shape)
        tested = self.values[fold[one]][:, near_] - self.values[fold[one], far_[one], None]
        below[:, one], above[:, one] = (tested < 0).swapaxes(0, 1), (tested > 0).swapaxes(0, 1)
        every = self.values[:, near_, None] - self.values[:, None, far_[~one]]
        below[:, ~one], above[:, ~one] = (every < 0).mean(0), (every > 0).mean(0)
        return below, above


def combine(parts: Sequence[Score], roles: Roles, *, min_independents: int) -> Score:
    """Returns the sum of scores, each standardised by independents like the model it is of.

    From every score the mean of the model's matched independents is taken, and the rest divided by
    their standard deviation and cut as in `modelgif.verdict.combined_scores`. An independent is not
    among its own. Methods that cannot describe the model's label set, and so none of those it is
    compared with, are left out. A combination thus tells how far a model is from what is usual for
    its architecture and training, and can be compared between architectures.

    Args:
        parts: at least one.
        roles: who is matched with whom.
        min_independents: see `intellectual_property_protection.scoring.roles.Roles.matched`.
    """
    n_folds = max(len(part.values) for part in parts)
    total = np.full((n_folds, len(roles.members)), np.nan)
    for model in range(len(roles.members)):
        _, matched = roles.matched(model, min_independents)
        known = [part for part in parts if part.known([model])]
        if len(matched) >= 2 and known:
            total[:, model] = sum(_standardised(part, model, matched) for part in known)
    return Score(total, parts[0].folds)


def _standardised(part: Score, model: int, matched: Sequence[int]) -> np.ndarray:
    """How unusual the model's scores ``[K]`` are among those of `matched`."""
    usual = part.own[matched]
    deviation = part.values[:, model] - usual.mean()
    far = np.abs(deviation) >= LARGEST_DEVIATION * usual.std(ddof=1)
    cut = LARGEST_DEVIATION * np.sign(deviation)
    return np.where(far, cut, deviation / np.where(far, 1, usual.std(ddof=1)))
