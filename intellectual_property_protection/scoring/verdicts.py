"""Verdicts on suspects, and how often they would be wrong about honest models."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch

from intellectual_property_protection.evaluation_config import EvaluationConfig
from intellectual_property_protection.scoring.roles import LEVELS, Roles
from intellectual_property_protection.scoring.score import Score, combine
from modelgif.experiment.record import Measurement
from modelgif.verdict import (
    Calibration,
    Decision,
    MatchedBy,
    combined_p_value,
    conformal_p_value,
    cross_conformal_p_value,
    decide,
    holm,
    verdicts,
)

FALSE_POSITIVES = "false_positive_rate"
# How a decision is written in the records.
DECISIONS: Mapping[Decision, int] = {"derived": 1, "undecided": 0, "independent": -1}


@dataclass(frozen=True)
class ModelVerdict:
    """What a score, or several, say of a model.

    Attributes:
        p_value: the chance that an independent model would be as near.
        n: the number of independents it was compared with.
        matched_by: what these share with it.
        decision: at the level, by itself.
        p_value_interval: 95 % of the p-value over draws of the references, where that is known.
    """

    p_value: float
    n: int
    matched_by: MatchedBy
    decision: Decision
    p_value_interval: tuple[float, float] | None = None


def evaluate_model(
    parts: Sequence[Score],
    roles: Roles,
    model: int,
    config: EvaluationConfig,
    *,
    level: float,
    generator: torch.Generator | None = None,
    combined: Score | None = None,
) -> ModelVerdict | None:
    """Returns the verdict on a model among the independents it is matched with, or None.

    It is that of `modelgif.verdict.verdicts`, unless independents chose references: then one score
    gives the cross-conformal p-value, and of several, each independent enters with the score of its
    own fold and the suspect with its mean. Standardised, the model's sum of deviations is ranked
    among those of the independents of all kinds.

    Args:
        parts: the scores; those that cannot describe the model are left out, and with none left,
            or too few independents of its label set, there is no verdict.
        roles: the models.
        model: position of the one evaluated.
        config: the rules.
        level: share of honest models that may be called derived.
        generator: of draws of the references, for the interval; None for no interval.
        combined: `combine` of the parts, where many models are evaluated by them.
    """
    matched_by, matched = roles.matched(model, config.min_independents)
    known = [part for part in parts if part.known([model])]
    # One independent is a comparison, but has no deviation to standardise several scores by.
    if not known or len(matched) < (1 if len(known) == 1 else 2):
        return None
    if any(len(part.values) > 1 for part in known):
        n = len(matched)
        if config.calibration == "matched":
            p_value = _with_folds(known, model, matched)
        else:
            sums = (combined or combine(parts, roles, min_independents=config.min_independents)).own
            others = sums[roles.like_labelled(model)]
            others = others[np.isfinite(others)]
            if not len(others) or not np.isfinite(sums[model]):
                return None
            n = len(others)
            p_value = conformal_p_value(sums[model].item(), others)
        return ModelVerdict(p_value, n, matched_by, decide(p_value, n, level=level))
    others = roles.like_labelled(model)
    tables = {str(i): _contributions(part) for i, part in enumerate(known)}
    (verdict,) = verdicts(
        [roles.names[model]],
        {name: table[[model]] for name, table in tables.items()},
        {name: table[others] for name, table in tables.items()},
        suspect_kinds=[roles.kinds[model]],
        independent_kinds=[roles.kinds[i] for i in others],
        min_independents=config.min_independents,
        calibration=config.calibration,
        correction="none",
        level=level,
        n_bootstrap=config.n_bootstrap if generator is not None else 0,
        generator=generator,
    )
    return ModelVerdict(
        verdict.p_value,
        verdict.n_independents,
        verdict.matched_by,
        verdict.decision,
        verdict.p_value_interval,
    )


def suspect_measurements(
    roles: Roles,
    parts: Sequence[Score],
    config: EvaluationConfig,
    *,
    level: float,
    generator: torch.Generator,
) -> list[Measurement]:
    """Returns, for every suspect, what is found of it by itself and among all suspects.

    - ``p_value``: ``n`` is the number of independents, whose smallest is ``1/(n + 1)``
    - ``p_value_low``, ``p_value_high``: its 95 % interval over draws of the references
    - ``p_value_holm``: adjusted for the number of suspects, so that the chance of one or more
      honest ones being called derived is kept to the level
    - ``decision``: 1 derived, 0 undecided, -1 independent; by itself, at the level
    - ``matched_by``: 0, 1 or 2 for independents of its architecture and training, of its
      architecture, or all
    """
    combined = combine(parts, roles, min_independents=config.min_independents)
    evaluated = {
        member.name: evaluate_model(
            parts, roles, model, config, level=level, generator=generator, combined=combined
        )
        for model, member in enumerate(roles.members)
        if member.role == "suspect"
    }
    found = {name: one for name, one in evaluated.items() if one is not None}
    if not found:
        return []
    adjusted = holm([one.p_value for one in found.values()])
    return [
        Measurement(name, quantity, value, one.n)
        for (name, one), p_value in zip(found.items(), adjusted, strict=True)
        for quantity, value in _numbers(one, p_value.item())
    ]


def honest_groups(roles: Roles) -> dict[str, list[int]]:
    """Returns positions of the models made without the victim, by what could make them look near.

    Only the last group saw the victim's data.
    """
    found: dict[str, list[int]] = {}
    for model, member in enumerate(roles.members):
        if member.is_derived or member.role not in ("suspect", "independent"):
            continue
        if member.data == "victim":
            group = "trained on the victim's data"
        elif member.role == "suspect":
            group = "honest suspects"
        elif member.training != "standard":
            group = "independents, adversarially trained"
        elif member.made_by.has_parent:
            group = "independents, made from another model"
        else:
            group = "independents, trained from scratch"
        found.setdefault(group, []).append(model)
    return dict(sorted(found.items()))


def honest_measurements(
    roles: Roles, parts: Sequence[Score], config: EvaluationConfig, *, level: float
) -> list[Measurement]:
    """Returns the share of each group of honest models whose p-value reaches the level.

    Each is evaluated as if it were a suspect, an independent by the others, in both calibrations:
    ``false_positive_rate_matched`` and ``false_positive_rate_standardised``. Models whose
    independents are too few for any p-value to reach the level count as well: nobody is accused
    there, so that small groups tell only the second rate.
    """
    found = []
    combined = combine(parts, roles, min_independents=config.min_independents)
    for calibration in get_args(Calibration):
        rules = config.model_copy(update={"calibration": calibration})
        for group, models in honest_groups(roles).items():
            evaluated = [
                evaluate_model(parts, roles, model, rules, level=level, combined=combined)
                for model in models
            ]
            p_values = np.array([one.p_value for one in evaluated if one is not None])
            if len(p_values):
                # 1e-9: 1/20 must reach 0.05 whatever the rounding.
                share = np.mean(p_values <= level + 1e-9).item()
                quantity = f"{FALSE_POSITIVES}_{calibration}"
                found.append(Measurement(group, quantity, share, len(p_values)))
    return found


def _with_folds(parts: Sequence[Score], model: int, matched: Sequence[int]) -> float:
    if len(parts) > 1:
        independents = np.stack([part.own[matched] for part in parts], axis=1)
        return combined_p_value([part.own[model].item() for part in parts], independents)
    (score,) = parts
    folds = score.folds[matched]
    # Independents of another label set choose no references: their scores are means over folds.
    groups = {fold: np.flatnonzero(folds == fold) for fold in np.unique(folds)}
    suspect = [(score.own if fold < 0 else score.values[fold])[model] for fold in groups]
    independents = [score.own[np.array(matched)[rows]] for rows in groups.values()]
    return cross_conformal_p_value(suspect, independents)


def _contributions(part: Score) -> np.ndarray:
    """Contributions ``[M, N]``; a score that is not a mean is that of one reference."""
    return part.values[0][:, None] if part.contributions is None else part.contributions


def _numbers(evaluated: ModelVerdict, holms: float) -> Iterator[tuple[str, float]]:
    yield "p_value", evaluated.p_value
    yield "p_value_holm", holms
    yield "decision", DECISIONS[evaluated.decision]
    yield "matched_by", LEVELS.index(evaluated.matched_by)
    if evaluated.p_value_interval is not None:
        yield "p_value_low", evaluated.p_value_interval[0]
        yield "p_value_high", evaluated.p_value_interval[1]
