"""Verdicts: was a suspect derived from the victim?

Scores are smaller for models nearer to the victim. An independent model is one known to be trained
without it; every error rate here is the chance that one more of them is accused.
"""

from modelgif.verdict.case import Calibration
from modelgif.verdict.combination import (
    Combination,
    combined_p_value,
    combined_scores,
    comparable,
)
from modelgif.verdict.conformal import (
    conformal_p_value,
    cross_conformal_p_value,
    needed_independents,
    smallest_p_value,
)
from modelgif.verdict.correction import Correction, adjust, holm
from modelgif.verdict.decision import Decision, decide
from modelgif.verdict.many_suspects import verdicts
from modelgif.verdict.matching import Matched, MatchedBy, ModelKind, matched
from modelgif.verdict.merging import Merging, merge_p_values
from modelgif.verdict.precision import bootstrap_interval, needed_references
from modelgif.verdict.verdict import Verdict

__all__ = [
    "Calibration",
    "Combination",
    "Correction",
    "Decision",
    "ModelKind",
    "Matched",
    "MatchedBy",
    "Merging",
    "Verdict",
    "adjust",
    "bootstrap_interval",
    "combined_p_value",
    "combined_scores",
    "comparable",
    "conformal_p_value",
    "cross_conformal_p_value",
    "decide",
    "holm",
    "matched",
    "merge_p_values",
    "needed_independents",
    "needed_references",
    "smallest_p_value",
    "verdicts",
]
