"""One suspect's case: the models it is compared with, and how near it is among them."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from modelgif.verdict.calibration_set import origin_p_value
from modelgif.verdict.combination import Combination, combined_scores, comparable
from modelgif.verdict.matching import MatchedBy, ModelKind, matched
from modelgif.verdict.precision import needed_references, percentile_interval, redrawn

Calibration = Literal["matched", "standardised"]


@dataclass(frozen=True)
class Case:
    """A suspect among its independents.

    Attributes:
        contributions: of each reference to each model's score, by method, ``[n + 1, N]`` with the
            suspect in the last row.
        groups: of all models, where scores are standardised in groups.
        matched_by: what the independents, or each group of them, share.
        weights: of the methods, or None.
        rule: how these are combined.
        origins: of each independent; those of one origin have one voice together.
        warnings: what weakens the case, in sentences.
    """

    contributions: Mapping[str, np.ndarray]
    groups: tuple[Hashable, ...] | None
    matched_by: MatchedBy
    weights: np.ndarray | None
    rule: Combination
    origins: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def n_independents(self) -> int:
        """With how many independents the suspect is compared, those of one origin counted once."""
        return len(set(self.origins))

    def p_value(self) -> float:
        """Returns the suspect's conformal p-value, in which ties count as near."""
        return self._p_value(list(self.contributions.values()))

    def is_farther(self) -> bool:
        """Returns whether the suspect is strictly farther than half of the independents.

        A tie is no sign of distance: where scores are equal because they hold no information, a
        large p-value would read as innocence.
        """
        return self._p_value(list(self.contributions.values()), ties_are_near=False) > 0.5

    def p_value_interval(
        self, n_bootstrap: int, generator: torch.Generator, *, level: float = 0.95
    ) -> tuple[float, float] | None:
        """Returns the p-value's percentile interval over references, drawn again for every method.

        It is None where no method has more than one reference.
        """
        arrays = list(self.contributions.values())
        if not n_bootstrap or max(array.shape[1] for array in arrays) == 1:
            return None
        drawn = [
            self._p_value([redrawn(array, generator) for array in arrays])
            for _ in range(n_bootstrap)
        ]
        return percentile_interval(drawn, level)

    def needed_references(self, rank: int) -> int | None:
        """Returns how many references make certain whether the suspect is among the `rank` nearest.

        It is when it is nearer than the independent of that rank, so that a single comparison
        matters. None where several methods or groups leave no such comparison.
        """
        (array, *more) = self.contributions.values()
        if more or self.groups is not None or array.shape[1] < 2:
            return None
        if self.n_independents < len(self.origins):
            return None
        decisive = np.argsort(array[:-1].mean(1), kind="stable")[rank - 1]
        return needed_references(array[decisive] - array[-1])

    def _p_value(self, arrays: Sequence[np.ndarray], *, ties_are_near: bool = True) -> float:
        scores = np.column_stack([array.mean(1) for array in arrays])
        one = scores[:, 0]
        if len(arrays) > 1 or self.groups is not None:
            one = combined_scores(scores, rule=self.rule, weights=self.weights, groups=self.groups)
        suspect = one[-1].item()
        if not ties_are_near:
            suspect = float(np.nextafter(suspect, -np.inf))
        return origin_p_value(suspect, one[:-1], self.origins)


def case_of(
    suspect: Mapping[str, np.ndarray],
    independents: Mapping[str, np.ndarray],
    kind: ModelKind | None,
    kinds: Sequence[ModelKind],
    *,
    min_independents: int,
    calibration: Calibration,
    rule: Combination,
    weights: Mapping[str, float] | None,
    eligible: Sequence[bool] | None = None,
    origins: Sequence[str] | None = None,
) -> Case:
    """Returns the case of a suspect, by all methods that can describe it.

    Args:
        suspect: contributions of each reference, by method, ``[N]``; NaN where a method is missing.
        independents: the same for each independent, ``[n, N]``.
        kind: the suspect's; None when kinds are unknown.
        kinds: those of the independents, ``[n]``; empty when unknown.
        min_independents: see `matched`.
        calibration: see `modelgif.verdict.verdicts`.
        rule: see `combined_scores`.
        weights: by method, or None.
        eligible: which independents the suspect may be compared with, ``[n]``; by default all.
        origins: of each independent, ``[n]``; by default each has its own.

    Raises:
        ValueError: when there is nothing to compare the suspect with.
    """
    names = list(suspect)
    voices = [str(i) for i in range(len(next(iter(independents.values()))))]
    voices = voices if origins is None else list(origins)
    if eligible is not None:
        chosen_rows: list[int] = np.flatnonzero(eligible).tolist()
        independents = {name: table[chosen_rows] for name, table in independents.items()}
        kinds = [kinds[i] for i in chosen_rows] if kinds else kinds
        voices = [voices[i] for i in chosen_rows]
    means = np.column_stack([independents[name].mean(1) for name in names])
    methods, models = comparable([suspect[name].mean() for name in names], means)
    used = [name for name, known in zip(names, methods, strict=True) if known]
    rows: list[int] = np.flatnonzero(models).tolist()
    warnings = []
    if missing := [name for name in names if name not in used]:
        warnings.append(f"Without {', '.join(missing)}, which cannot describe the suspect.")
    if len(rows) < len(models):
        left = len(models) - len(rows)
        warnings.append(
            f"Without {left} of {len(models)} independent models, which not all of "
            f"{', '.join(used)} can describe."
        )
    by, groups = "pooled", None
    if kind is None:
        warnings.append(
            "The kinds of the models are not known: independent models of other architectures are "
            "usually farther away, which makes an innocent suspect look derived."
        )
    else:
        rows_of = [kinds[i] for i in rows]
        found = matched(kind, rows_of, min_independents=min_independents)
        by = found.by
        if calibration == "standardised" and by != "pooled":
            groups, chosen = _groups(kind, rows_of, by, max(min_independents, 3))
            warnings.append(
                "Compared with models of other kinds, each standardised against its own "
                f"{by}: the level is kept approximately."
            )
        else:
            chosen = found.rows
            warnings += [found.warning] if found.warning else []
        rows = [rows[i] for i in chosen]
    return Case(
        {name: np.vstack([independents[name][rows], suspect[name]]) for name in used},
        groups,
        by,
        None if weights is None else np.array([weights[name] for name in used]),
        rule,
        tuple(voices[i] for i in rows),
        tuple(warnings),
    )


def _groups(
    kind: ModelKind, kinds: Sequence[ModelKind], by: MatchedBy, min_independents: int
) -> tuple[tuple[Hashable, ...], tuple[int, ...]]:
    """The groups of the models compared, the suspect's last, and which independents these are."""
    shared = [other.shared(by) for other in kinds]
    counts = Counter(shared)
    own = kind.shared(by)
    # The suspect is itself a member of its group.
    rows = tuple(
        i for i, group in enumerate(shared) if counts[group] + (group == own) >= min_independents
    )
    return (*(shared[i] for i in rows), own), rows
