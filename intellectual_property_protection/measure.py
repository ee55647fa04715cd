"""The testbed's statistics: p-values of suspects, and how well each attack is told apart."""

from collections.abc import Mapping, Sequence

import numpy as np

from intellectual_property_protection.zoo import Member
from modelgif.experiment.measurement import Measurement
from modelgif.ranking import auc, auc_interval, tpr_at_fpr
from modelgif.verdict import conformal_p_value


def suspect_measurements(
    members: Sequence[Member], distance: Mapping[str, float]
) -> list[Measurement]:
    """Returns the p-value of each suspect against the independents of its own architecture.

    An architecture makes more of a difference to fields than a theft does, so independents of
    another architecture would say nothing about the suspect.

    Args:
        members: the zoo.
        distance: to the victim, by model.

    Raises:
        ValueError: when a suspect's architecture has no independent model.
    """
    found = []
    for suspect in (m for m in members if m.role == "suspect"):
        known = [distance[m.name] for m in _independents(members, suspect.architecture)]
        p_value = conformal_p_value(distance[suspect.name], known)
        found.append(Measurement(suspect.name, "p_value", p_value, len(known)))
    return found


def attack_measurements(
    members: Sequence[Member], distance: Mapping[str, float]
) -> list[Measurement]:
    """Returns, for each attack, how well its models are told from those made without the victim.

    - ``auc_pooled``: against the negatives of all architectures, as in the paper
    - ``auc_matched``: against those of each model's own architecture: the chance that a derived
      model is nearer than an honest one of the same architecture
    - ``auc_matched_low``, ``_high``: its 95 % interval from the numbers of models, which treats
      several architectures as one
    - ``tpr_at_5_percent_fpr``: pooled
    - ``n_negatives``, ``n_negatives_matched``: how many there are

    Negatives are the independents and the honest suspects; ``n`` is the number of positives.

    Args:
        members: the zoo.
        distance: to the victim, by model.
    """
    honest = [m for m in members if m.role != "victim" and not m.is_derived]
    found = []
    for attack in dict.fromkeys(m.attack for m in members if m.is_derived):
        derived = [m for m in members if m.attack == attack]
        near, far = ([distance[m.name] for m in side] for side in (derived, honest))
        by_kind = [
            (
                [distance[m.name] for m in derived if m.architecture == architecture],
                [distance[m.name] for m in honest if m.architecture == architecture],
            )
            for architecture in dict.fromkeys(m.architecture for m in derived)
        ]
        n_matched = sum(len(negatives) for _, negatives in by_kind)
        matched = np.average(
            [auc(*sides) for sides in by_kind], weights=[len(positives) for positives, _ in by_kind]
        ).item()
        low, high = auc_interval(matched, len(near), n_matched)
        numbers = {
            "auc_pooled": auc(near, far),
            "auc_matched": matched,
            "auc_matched_low": low,
            "auc_matched_high": high,
            "tpr_at_5_percent_fpr": tpr_at_fpr(near, far, fpr=0.05),
            "n_negatives": len(far),
            "n_negatives_matched": n_matched,
        }
        found += [Measurement(attack, name, value, len(near)) for name, value in numbers.items()]
    return found


def _independents(members: Sequence[Member], architecture: str) -> list[Member]:
    return [m for m in members if m.role == "independent" and m.architecture == architecture]
