"""A verdict: the decision on one suspect, and its grounds."""

from dataclasses import dataclass

from modelgif.verdict.case import Calibration
from modelgif.verdict.correction import Correction
from modelgif.verdict.decision import Decision
from modelgif.verdict.matching import MatchedBy


@dataclass(frozen=True)
class Verdict:
    """The decision whether one suspect was derived from the victim, and its grounds.

    Attributes:
        suspect: its name.
        decision: derived, independent or undecided.
        p_value: the chance that an independent model would be as near; see `conformal_p_value`.
        adjusted_p_value: corrected for all suspects that were evaluated together.
        level: the error rate that `decision` keeps to.
        correction: how `adjusted_p_value` was made.
        n_independents: with how many models the suspect was compared.
        smallest_p_value: what so many allow at best, ``1/(n + 1)``.
        matched_by: what they share with the suspect or, standardised, with the group against which
            they are standardised.
        calibration: see `verdicts`.
        methods: those by which it was evaluated.
        p_value_interval: the 95 % interval of the p-value over other draws of references; None if
            it was not requested, or no score is a mean over references.
        needed_independents: how many would always suffice; None when those at hand can.
        needed_references: how many references would settle the decision, if they were like those at
            hand; None when these do, or when it is not known.
        note: what a reader must know besides, in sentences; may be empty.
    """

    suspect: str
    decision: Decision
    p_value: float
    adjusted_p_value: float
    level: float
    correction: Correction
    n_independents: int
    smallest_p_value: float
    matched_by: MatchedBy
    calibration: Calibration
    methods: tuple[str, ...]
    p_value_interval: tuple[float, float] | None
    needed_independents: int | None
    needed_references: int | None
    note: str
