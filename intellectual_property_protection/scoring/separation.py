"""The testbed's statistics: how well each attack is told apart by a score."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from intellectual_property_protection.scoring.roles import Cast
from intellectual_property_protection.scoring.score import Score
from modelgif.experiment.record import Measurement
from modelgif.verdict import MatchedBy

FPR = 0.05
# Quantities of an AUC by what negatives share with the suspect.
AUC: Mapping[MatchedBy, str] = {
    "architecture and training": "auc_kind",
    "architecture": "auc_matched",
    "pooled": "auc_pooled",
}


class Told(NamedTuple):
    """How well some models are told from others.

    Attributes:
        auc: the chance that one of the first scores below one of the second that it may be compared
            with, ties counted half; one number, or one a draw of the references ``[B]``.
        tpr: the share of the first that at most 5 % of the second score below or beside; likewise.
        n: how many of the first have anybody to be compared with.
        n_negatives: how many of the second are compared.
    """

    auc: np.ndarray
    tpr: np.ndarray
    n: int
    n_negatives: int


def told_apart(
    score: Score, cast: Cast, near: Sequence[int], far: Sequence[int], level: MatchedBy
) -> Told | None:
    """Returns how well `near` are told from `far`, or None where nobody can be compared.

    Each model of `near` counts the same, whatever the number of negatives it is compared with.

    Args:
        score: lower for models made from the victim.
        cast: the models.
        near: those made from the victim.
        far: those made without.
        level: what two models share to be compared; the label set always.
    """
    near, far = score.known(near), score.known(far)
    pairs = cast.alike(near, far, level)
    rows = np.flatnonzero(pairs.any(1))
    if not len(rows):
        return None
    pairs = pairs[rows]
    below, above = score.compare([near[row] for row in rows], far)
    # Draws of the references, where there are any, come first, so that pairs line up.
    below, above = np.moveaxis(below, [0, 1], [-2, -1]), np.moveaxis(above, [0, 1], [-2, -1])
    n_compared = pairs.sum(1)
    auc = (np.where(pairs, 1 + below - above, 0).sum(-1) / (2 * n_compared)).mean(-1)
    ahead = np.where(pairs, 1 - below, 0).sum(-1)
    # 1e-9: 0.05 · 20 must allow one false positive whatever the rounding.
    found = (ahead <= np.floor(FPR * n_compared + 1e-9) + 1e-9).mean(-1)
    return Told(auc, found, len(rows), int(pairs.any(0).sum()))


def attack_measurements(cast: Cast, score: Score) -> list[Measurement]:
    """Returns, for each attack, how well its models are told from those made without the victim.

    - ``auc_pooled``: against the negatives of all architectures, as in the paper
    - ``auc_matched``: against those of each model's own architecture
    - ``auc_kind``: against those of its architecture and training
    - ``tpr_pooled_at_5_percent_fpr``, ``tpr_matched_at_5_percent_fpr``: of either
    - ``n_negatives_pooled``, ``n_negatives_matched``, ``n_negatives_kind``: how many there are
    - ``auc_victims_data``: against honest models of its architecture that learnt the victim's data

    Negatives are the independents and the honest suspects that never saw the victim's data, with
    the label set of the suspect; ``n`` is the number of positives that have any. What cannot be
    measured is left out.
    """
    found = []
    for attack, models in cast.attacks.items():
        for level, quantity in AUC.items():
            told = told_apart(score, cast, models, cast.honest, level)
            if told is None:
                continue
            numbers = {quantity: told.auc.item()}
            ending = quantity.removeprefix("auc")
            numbers[f"n_negatives{ending}"] = told.n_negatives
            if level != "architecture and training":
                numbers[f"tpr{ending}_at_5_percent_fpr"] = told.tpr.item()
            found += [Measurement(attack, name, value, told.n) for name, value in numbers.items()]
        told = told_apart(score, cast, models, cast.on_victims_data, "architecture")
        if told is not None:
            found.append(Measurement(attack, "auc_victims_data", told.auc.item(), told.n))
    return found


def half_widths(cast: Cast, draws: Score) -> dict[tuple[str, str], float]:
    """Returns half the width of the 95 % interval of each AUC over draws of the references.

    Args:
        cast: the models.
        draws: from `intellectual_property_protection.scoring.reference_choice.resampled`.

    Returns:
        By attack and quantity.
    """
    found = {}
    for attack, models in cast.attacks.items():
        for level, quantity in AUC.items():
            told = told_apart(draws, cast, models, cast.honest, level)
            if told is not None:
                low, high = np.quantile(told.auc, [0.025, 0.975])
                found[attack, quantity] = float(high - low) / 2
    return found
