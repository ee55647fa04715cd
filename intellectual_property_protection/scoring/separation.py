"""The testbed's statistics: how well a score separates each attack from honest models."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from intellectual_property_protection.scoring.roles import Roles
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


class Separation(NamedTuple):
    """How well a score separates some models from others.

    Attributes:
        auc: the chance that one of the first scores below one of the second that it may be compared
            with, ties counted half; one number, or one per draw of the references ``[B]``.
        tpr: the share of the first that at most 5 % of the second score below or beside; also one
            number, or one per draw.
        n: how many of the first have anybody to be compared with.
        n_negatives: how many of the second are compared.
    """

    auc: np.ndarray
    tpr: np.ndarray
    n: int
    n_negatives: int


def separation(
    score: Score, roles: Roles, near: Sequence[int], far: Sequence[int], level: MatchedBy
) -> Separation | None:
    """Returns how well `near` are separated from `far`, or None where nobody can be compared.

    Each model of `near` counts the same, whatever the number of negatives it is compared with.

    Args:
        score: lower for models made from the victim.
        roles: the models.
        near: those made from the victim.
        far: those made without.
        level: what two models share to be compared; the label set always.
    """
    near, far = score.known(near), score.known(far)
    pairs = roles.alike(near, far, level)
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
    return Separation(auc, found, len(rows), int(pairs.any(0).sum()))


def attack_measurements(roles: Roles, score: Score) -> list[Measurement]:
    """Returns, for each attack, how well its models separate from those made without the victim.

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
    for attack, models in roles.attacks.items():
        for level, quantity in AUC.items():
            separated = separation(score, roles, models, roles.honest, level)
            if separated is None:
                continue
            numbers = {quantity: separated.auc.item()}
            ending = quantity.removeprefix("auc")
            numbers[f"n_negatives{ending}"] = separated.n_negatives
            if level != "architecture and training":
                numbers[f"tpr{ending}_at_5_percent_fpr"] = separated.tpr.item()
            found += [
                Measurement(attack, name, value, separated.n) for name, value in numbers.items()
            ]
        separated = separation(score, roles, models, roles.on_victims_data, "architecture")
        if separated is not None:
            found.append(Measurement(attack, "auc_victims_data", separated.auc.item(), separated.n))
    return found


def half_widths(roles: Roles, draws: Score) -> dict[tuple[str, str], float]:
    """Returns half the width of the 95 % interval of each AUC over draws of the references.

    Args:
        roles: the models.
        draws: from `intellectual_property_protection.scoring.reference_choice.resampled`.

    Returns:
        By attack and quantity.
    """
    found = {}
    for attack, models in roles.attacks.items():
        for level, quantity in AUC.items():
            separated = separation(draws, roles, models, roles.honest, level)
            if separated is not None:
                low, high = np.quantile(separated.auc, [0.025, 0.975])
                found[attack, quantity] = float(high - low) / 2
    return found
