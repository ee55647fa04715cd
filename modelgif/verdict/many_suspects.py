"""Verdicts on many suspects, with all that is needed to defend or doubt them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from modelgif.verdict._contributions import check_contributions, contributions
from modelgif.verdict.case import Calibration, Case, case_of
from modelgif.verdict.combination import Combination
from modelgif.verdict.conformal import needed_independents, smallest_p_value
from modelgif.verdict.correction import Correction, adjust, checked_p_values
from modelgif.verdict.decision import Decision
from modelgif.verdict.matching import ModelKind
from modelgif.verdict.verdict import Verdict

# Levels and p-values are ratios of small whole numbers; equal ones must compare as equal.
_ROUNDING = 1e-9


def verdicts(
    names: Sequence[str],
    suspects: Mapping[str, ArrayLike],
    independents: Mapping[str, ArrayLike],
    *,
    suspect_kinds: Sequence[ModelKind] | None = None,
    independent_kinds: Sequence[ModelKind] | None = None,
    min_independents: int = 5,
    calibration: Calibration = "matched",
    rule: Combination = "sum",
    weights: Mapping[str, float] | None = None,
    correction: Correction = "holm",
    level: float = 0.05,
    n_bootstrap: int = 0,
    generator: torch.Generator | None = None,
    eligible: ArrayLike | None = None,
    origins: Sequence[str] | None = None,
    family: ArrayLike = (),
) -> list[Verdict]:
    """Returns the verdict on each suspect, in the order of `names`.

    - ``derived``: the adjusted p-value is at most `level`, at both ends of the interval if there is
      one
    - ``independent``: the suspect is strictly farther than half of the independents, and not
      derived at either end of the interval
    - ``undecided``: otherwise, or when there are so few independents that no score could be derived

    Args:
        names: of the suspects, ``[S]``.
        suspects: by method, scores ``[S]``, or contributions of each reference ``[S, N]`` whose
            mean is the score; smaller for nearer, NaN where the method cannot describe the model.
            Each method may have references of its own.
        independents: by the same methods, ``[n]`` or ``[n, N]``.
        suspect_kinds: architecture and training of each suspect; goes with the next.
        independent_kinds: those of the independents, ``[n]``. Without kinds, every suspect is
            compared with all independents.
        min_independents: how many independents of one architecture and training are enough, see
            `matched`.
        calibration: ``matched`` compares a suspect with models of its own kind alone, which is
            exact. ``standardised`` compares it with those of every kind that has
            `min_independents` models, each standardised against its own kind: more models and so
            smaller p-values, at a level that is kept approximately, see `combined_scores`.
        rule: how several methods are combined, see `combined_scores`.
        weights: by method, see `combined_scores`.
        correction: for there being several suspects, see `adjust`.
        level: between 0 and 0.5.
        n_bootstrap: how often references are drawn for the interval; 0 for no interval.
        generator: CPU generator of these draws.

        eligible: which independents each suspect may be compared with, ``[S, n]`` of truth values;
            by default all of them.
        origins: of each independent, ``[n]``: those of one origin have one voice together, see
            `modelgif.verdict.calibration_set.origin_p_value`. By default each has its own.
        family: p-values of other tests that are corrected together with these.

    Raises:
        ValueError: if methods or the numbers of models or references do not match, for an unknown
            option, or a suspect that no independent can be compared with.

    Example:
        >>> independents = {"field": [0.5 + 0.01 * i for i in range(19)]}
        >>> (verdict,) = verdicts(["theirs"], {"field": [0.1]}, independents)
        >>> verdict.decision, verdict.p_value
        ('derived', 0.05)
    """
    if not 0 < level < 0.5:
        raise ValueError(f"level must lie between 0 and 0.5, got {level}.")
    if calibration not in get_args(Calibration):
        raise ValueError(
            f"calibration must be one of {', '.join(get_args(Calibration))}, got {calibration!r}."
        )
    if n_bootstrap < 0 or (n_bootstrap and generator is None):
        raise ValueError(
            f"drawing references takes a generator and n_bootstrap >= 0, got {n_bootstrap}."
        )
    accused = contributions(suspects, "suspects")
    known = contributions(independents, "independents")
    check_contributions(names, accused, known, weights)
    count = len(next(iter(known.values())))
    if (suspect_kinds is None) != (independent_kinds is None):
        raise ValueError("kinds must be given for suspects and independents, or for neither.")
    if len(suspect_kinds or names) != len(names) or len(independent_kinds or range(count)) != count:
        raise ValueError(
            f"expected the kinds of {len(names)} suspects and {count} independents, got "
            f"{len(suspect_kinds or ())} and {len(independent_kinds or ())}."
        )
    mask = None if eligible is None else np.asarray(eligible, dtype=bool)
    if mask is not None and mask.shape != (len(names), count):
        raise ValueError(
            f"expected eligible independents [{len(names)}, {count}], got {list(mask.shape)}."
        )
    if origins is not None and len(origins) != count:
        raise ValueError(f"expected the origins of {count} independents, got {len(origins)}.")
    cases = [
        case_of(
            {method: table[i] for method, table in accused.items()},
            known,
            suspect_kinds[i] if suspect_kinds else None,
            independent_kinds or (),
            min_independents=min_independents,
            calibration=calibration,
            rule=rule,
            weights=weights,
            eligible=None if mask is None else mask[i].tolist(),
            origins=origins,
        )
        for i in range(len(names))
    ]
    p_values = np.array([*(case.p_value() for case in cases), *_checked(family)])
    found = []
    for i, case in enumerate(cases):
        interval = case.p_value_interval(n_bootstrap, generator) if generator is not None else None
        decider = _Decider(p_values, i, correction, level)
        found.append(_verdict(names[i], case, decider, interval, calibration))
    return found


def _checked(family: ArrayLike) -> list[float]:
    values = np.asarray(family, dtype=float)
    return checked_p_values(values).tolist() if values.size else []


@dataclass(frozen=True)
class _Decider:
    """Decides on the suspect in row `row`, all others having the p-values they have."""

    p_values: np.ndarray
    row: int
    correction: Correction
    level: float

    def adjusted(self, p_value: float) -> float:
        """What `p_value` would be worth, were it the suspect's."""
        values = self.p_values.copy()
        values[self.row] = p_value
        return float(adjust(values, self.correction)[self.row])

    def accepts(self, p_value: float) -> bool:
        """Whether the suspect would be called derived."""
        return self.adjusted(p_value) <= self.level * (1 + _ROUNDING)

    def largest_rank(self, n_independents: int) -> int:
        """How many of all models, from the nearest on, would be called derived."""
        ranks = range(1, n_independents + 1)
        return sum(self.accepts(rank / (n_independents + 1)) for rank in ranks)

    def decide(self, low: float, p_value: float, high: float, *, is_farther: bool) -> Decision:
        if self.accepts(p_value) and self.accepts(high):
            return "derived"
        farther = is_farther and p_value > 0.5
        return "independent" if farther and not self.accepts(low) else "undecided"


def _verdict(
    name: str,
    case: Case,
    decider: _Decider,
    interval: tuple[float, float] | None,
    calibration: Calibration,
) -> Verdict:
    p_value, n = float(decider.p_values[decider.row]), case.n_independents
    low, high = interval or (p_value, p_value)
    notes, farther = list(case.warnings), case.is_farther()
    decision, more_models, more_references = (
        decider.decide(low, p_value, high, is_farther=farther),
        None,
        None,
    )
    if not decider.accepts(smallest_p_value(n)):
        decision = "undecided"
        together = len(decider.p_values) if decider.correction != "none" else 1
        more_models = needed_independents(decider.level, together)
        notes.append(
            f"With {n} independent {'model' if n == 1 else 'models'} no suspect could be called "
            f"derived at the level {decider.level:g}; {more_models} would suffice."
        )
    elif decision != decider.decide(p_value, p_value, p_value, is_farther=farther):
        more_references = case.needed_references(decider.largest_rank(n))
        notes.append(
            f"With other references the p-value would lie between {low:.3g} and {high:.3g}: too "
            "few references to decide."
        )
        if more_references is not None:
            notes.append(f"About {more_references} like these would settle it.")
    return Verdict(
        suspect=name,
        decision=decision,
        p_value=p_value,
        adjusted_p_value=decider.adjusted(p_value),
        level=decider.level,
        correction=decider.correction,
        n_independents=n,
        smallest_p_value=smallest_p_value(n),
        matched_by=case.matched_by,
        calibration=calibration,
        methods=tuple(case.contributions),
        p_value_interval=interval,
        needed_independents=more_models,
        needed_references=more_references,
        note=" ".join(notes),
    )
