"""Scores that predict how well a pretrained model will do on a data set once it is fine-tuned.

Each takes features ``[N, D]``, or probabilities ``[N, Z]`` of the source model's head, and labels
``[N]``, and returns a number; higher is better. `scores` lists them with what each declares.
"""

from modelgif.transferability._checks import SaturationWarning, SmallClassWarning
from modelgif.transferability._descent import PedReport, PedWarning
from modelgif.transferability.combine import scaled_sum
from modelgif.transferability.estimators.etran import EtranParts, etran, etran_parts
from modelgif.transferability.estimators.gbc import gbc
from modelgif.transferability.estimators.h_score import h_score, regularised_h_score
from modelgif.transferability.estimators.knn import knn
from modelgif.transferability.estimators.leep import leep, nce
from modelgif.transferability.estimators.linear_probe import linear_probe
from modelgif.transferability.estimators.logme import logme
from modelgif.transferability.estimators.ncti import NctiParts, ncti, ncti_parts
from modelgif.transferability.estimators.nleep import nleep, nleep_from_posterior
from modelgif.transferability.estimators.parc import parc
from modelgif.transferability.estimators.sfda import sfda
from modelgif.transferability.estimators.transrate import transrate
from modelgif.transferability.potential_energy import ped, ped_features
from modelgif.transferability.potential_energy_grid import ped_grid
from modelgif.transferability.registry import scores
from modelgif.transferability.score import Score

__all__ = [
    "EtranParts",
    "NctiParts",
    "PedReport",
    "PedWarning",
    "SaturationWarning",
    "Score",
    "SmallClassWarning",
    "etran",
    "etran_parts",
    "gbc",
    "h_score",
    "knn",
    "leep",
    "linear_probe",
    "logme",
    "ncti",
    "ncti_parts",
    "nce",
    "nleep",
    "nleep_from_posterior",
    "parc",
    "ped",
    "ped_features",
    "ped_grid",
    "regularised_h_score",
    "scaled_sum",
    "scores",
    "sfda",
    "transrate",
]

# A registered score is public by its file alone; the imports above tell type checkers its options.
globals().update({name: score.compute for name, score in scores().items()})
