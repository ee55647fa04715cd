"""Scores of how well a pretrained model will do on a data set, from its features alone.

Every score takes features ``[N, D]`` and labels ``[N]`` and returns a number, higher for better.
"""

from modelgif.transferability._checks import SaturationWarning, SmallClassWarning
from modelgif.transferability._descent import PedReport, PedWarning
from modelgif.transferability.combine import scaled_sum
from modelgif.transferability.etran import EtranParts, etran, etran_parts
from modelgif.transferability.gbc import gbc
from modelgif.transferability.h_score import h_score, regularised_h_score
from modelgif.transferability.knn import knn
from modelgif.transferability.leep import leep, nce
from modelgif.transferability.linear_probe import linear_probe
from modelgif.transferability.logme import logme
from modelgif.transferability.ncti import NctiParts, ncti, ncti_parts
from modelgif.transferability.nleep import nleep, nleep_from_posterior
from modelgif.transferability.parc import parc
from modelgif.transferability.ped import ped, ped_features
from modelgif.transferability.ped_grid import ped_grid
from modelgif.transferability.sfda import sfda
from modelgif.transferability.transrate import transrate

__all__ = [
    "EtranParts",
    "NctiParts",
    "PedReport",
    "PedWarning",
    "SaturationWarning",
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
    "sfda",
    "transrate",
]
