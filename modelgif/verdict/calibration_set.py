"""The calibration set examined: which independent models may speak for the honest.

A p-value believes that the independents were each made without the victim, and each for itself.
Copies of one model are one voice; kin of the victim are none. What is known of each model is given
by the caller; nothing is loaded here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from modelgif.verdict.conformal import conformal_p_value

# Of the spread of scores, root mean square: two models whose scores agree so closely compute the
# same. In the demo's zoo two fine-tuned copies of one model are 0.022 apart.
SAME_SCORES = 0.01
# A model that gives one class at so many of the references, where the victim does not, is not a
# classifier of them.
COLLAPSED = 0.9
# Of the variance of a model's scores, the share that depends on the image: 0.85 and more for every
# trained model of the demo's zoo, 0.07 and less for untrained ones of seven architectures.
UNTRAINED = 0.15
_EXAMPLES = 5


@dataclass(frozen=True, eq=False)
class ModelFacts:
    """What is known of a model; whatever is empty or None is not known.

    Attributes:
        name: as the reader knows it; unique.
        weights_sha256: digest of its weights.
        parent: name or address of the model that its card says it was made from.
        parent_sha256: digest of that model's weights, as its card says.
        labels: the class at each reference, ``[N]``.
        scores: at each reference, ``[N, C]``, on the scale of logits (logarithms of probabilities).
            What is added to all classes is taken out here.
        norm_updates: the counters of its BatchNorm layers (``num_batches_tracked``).
        accuracy: the share of right answers, of the victim and of others on the same images.
        shares_origin_with_victim: what a test of lineage says.
        shares_origin_with: names of other models for which such a test says so.
    """

    name: str
    weights_sha256: str = ""
    parent: str = ""
    parent_sha256: str = ""
    labels: ArrayLike | None = None
    scores: ArrayLike | None = None
    norm_updates: tuple[int, ...] | None = None
    accuracy: float | None = None
    shares_origin_with_victim: bool | None = None
    shares_origin_with: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CalibrationSet:
    """The independents that may be used.

    Attributes:
        kept: their names, in the order given.
        origins: one per kept model; models of one origin have one voice together, see
            `origin_p_value`.
        dropped: by name, why a model was left out, with the way out.
        strangers: kept models that are known not to start from where the victim does, though a
            suspect does, or a common ancestor is named. A suspect that starts there must not be
            judged by them.
        warnings: sentences on what weakens the set, each with the way out.
    """

    kept: tuple[str, ...]
    origins: tuple[str, ...]
    dropped: dict[str, str]
    strangers: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def n_origins(self) -> int:
        """How many voices there are."""
        return len(set(self.origins))


def examine_calibration_set(
    victim: ModelFacts,
    suspects: Sequence[ModelFacts],
    independents: Sequence[ModelFacts],
    *,
    ancestor: str = "",
) -> CalibrationSet:
    """Returns which independents may be used, and which of them are of one origin.

    Dropped by name are, in this order: the victim itself and what its card or a test of lineage
    calls its kin; a suspect; models that are not trained or have collapsed, where the victim has
    not; copies of an earlier independent, by weights or by answers (the same scores up to a number
    added to all classes, their order, and a factor). Where many independents share a parent they
    stay, with one voice together.

    A common public `ancestor` is known to all: descending from it makes nobody kin of the victim,
    and each of its direct children is an origin of its own, because given the ancestor they were
    made independently of each other.

    Args:
        victim: what is known of the victim.
        suspects: of each suspect.
        independents: of each independent, in any order.
        ancestor: name, address or digest of weights of the public model from which victim and
            suspects are known to start; empty for none.

    Raises:
        ValueError: for no independents, names that are not unique, or labels or scores for
            different numbers of references.

    Example:
        >>> models = [ModelFacts("a", "11"), ModelFacts("b", "22"), ModelFacts("c", "11")]
        >>> found = examine_calibration_set(ModelFacts("mine", "33"), [], models)
        >>> found.kept, found.n_origins
        (('a', 'b'), 2)
        >>> found.dropped["c"]
        'has the weights of a, and counts once: give other models in its place.'
    """
    _check([victim, *suspects, *independents], independents)
    everyone = {model.name: model for model in (victim, *suspects, *independents)}
    dropped: dict[str, str] = {}
    kept: list[ModelFacts] = []
    counted = any(model.norm_updates and any(model.norm_updates) for model in everyone.values())
    for model in independents:
        reason = (
            _kin(model, victim, everyone, ancestor)
            or _is_suspect(model, suspects)
            or _untrained(model, victim, counted)
            or _copy(model, kept)
        )
        if reason:
            dropped[model.name] = reason
        else:
            kept.append(model)
    origins = _origins(kept, everyone, ancestor)
    kin = [
        s.name for s in suspects if s.shares_origin_with_victim or _starts(s, everyone, ancestor)
    ]
    strangers = [m.name for m in kept if (kin or ancestor) and _is_stranger(m, everyone, ancestor)]
    warnings = _warnings(victim.name, kin, strangers, origins, len(dropped))
    names = tuple(model.name for model in kept)
    return CalibrationSet(names, origins, dropped, tuple(strangers), warnings)


def origin_p_value(
    distance: float,
    independents: ArrayLike,
    origins: Sequence[str],
    *,
    suspect_origin: str | None = None,
) -> float:
    """Returns the conformal p-value of a suspect among origins, each with its nearest model.

    Of each origin one model drawn at random would be exchangeable with an honest suspect of an
    origin of its own, whatever the models of an origin have in common, so that the p-value among
    them is exact. The nearest is as near as any that could be drawn, so the p-value here is at
    least that one: the level is kept for every draw at once, and nobody can choose among draws.
    The price is power where origins have many models. Where all origins have one model it is
    `conformal_p_value`.

    Args:
        distance: of the suspect from the victim.
        independents: distances of independents, ``[n]``.
        origins: of each of them, ``[n]``.
        suspect_origin: the suspect's, if it is known; its own kin have no voice, because it is
            exchangeable with them and with the other origins as one.

    Raises:
        ValueError: for unlike lengths, distances that are not finite, or no other origin.

    Example:
        >>> origin_p_value(0.2, [0.1, 0.3, 0.3, 0.4], ["a", "a", "b", "c"])
        0.5
    """
    known = np.asarray(independents, dtype=float)
    if known.ndim != 1 or len(known) != len(origins):
        raise ValueError(
            f"expected one origin per independent model, got {len(origins)} for distances "
            f"{list(known.shape)}."
        )
    if not np.isfinite(known).all():
        raise ValueError(f"expected finite distances of independent models, got {independents!r}.")
    nearest: dict[str, float] = {}
    for origin, value in zip(origins, known.tolist(), strict=True):
        if origin != suspect_origin:
            nearest[origin] = min(value, nearest.get(origin, np.inf))
    if not nearest:
        raise ValueError(
            "every independent model shares the suspect's origin: give independents of others."
        )
    return conformal_p_value(distance, list(nearest.values()))


def _check(everyone: Sequence[ModelFacts], independents: Sequence[ModelFacts]) -> None:
    if not independents:
        raise ValueError("expected at least one independent model, got none.")
    twice = [name for name, count in Counter(m.name for m in everyone).items() if count > 1]
    if twice:
        raise ValueError(f"names must be unique, got {twice[0]!r} more than once.")
    lengths = {len(np.asarray(m.labels)) for m in everyone if m.labels is not None}
    lengths |= {len(np.asarray(m.scores)) for m in everyone if m.scores is not None}
    if len(lengths) > 1:
        raise ValueError(
            "expected the labels and scores of all models at the same references, got "
            f"{' and '.join(map(str, sorted(lengths)))} of them."
        )


def _kin(
    model: ModelFacts, victim: ModelFacts, everyone: Mapping[str, ModelFacts], ancestor: str
) -> str:
    if _same_weights(model, victim):
        return "is the victim itself (the same weights), not an independent: leave it out."
    if _same_answers(model, victim):
        return "gives the victim's answers, and is no independent: leave it out."
    line, forebears = (_line(one, everyone, ancestor) for one in (model, victim))
    if victim.name in line:
        return "was made from the victim, as its card says. Leave it out, or give it as a suspect."
    if model.name in forebears:
        return (
            "is what the victim was made from, as the victim's card says. Leave it out; where "
            "suspects may start from it too, name it as the common ancestor."
        )
    if shared := [name for name in line if name in forebears]:
        return (
            f"was made from {shared[0]}, as the victim was, by their cards. Leave it out; where "
            "that is public and suspects may start from it too, name it as the common ancestor."
        )
    if model.shares_origin_with_victim and not ancestor:
        return (
            "descends from the same random start as the victim. Leave it out; where all start from "
            "a public model, name that as the common ancestor."
        )
    return ""


def _is_suspect(model: ModelFacts, suspects: Sequence[ModelFacts]) -> str:
    for suspect in suspects:
        if _same_weights(model, suspect) or _same_answers(model, suspect):
            return (
                f"is the suspect {suspect.name}, and cannot speak for itself: leave it out of the "
                "independents."
            )
    return ""


def _copy(model: ModelFacts, kept: Iterable[ModelFacts]) -> str:
    for other in kept:
        if _same_weights(model, other):
            return (
                f"has the weights of {other.name}, and counts once: give other models in its place."
            )
        if _same_answers(model, other):
            return (
                f"gives the answers of {other.name}, up to a number added to all classes, and "
                "counts once: give other models in its place."
            )
    return ""


def _untrained(model: ModelFacts, victim: ModelFacts, counted: bool) -> str:
    if counted and model.norm_updates and not any(model.norm_updates):
        return (
            "was never trained (its BatchNorm counters are 0, those of others are not): give "
            "trained models."
        )
    share, usual = _largest_share(model), _largest_share(victim)
    if share is not None and share >= COLLAPSED and (usual is None or usual < COLLAPSED):
        return (
            f"gives one class at {share:.0%} of the references, as an untrained or collapsed model "
            "does: give trained models, or check its preprocessing."
        )
    varies, usual = _share_of_image(model), _share_of_image(victim)
    if varies is not None and varies < UNTRAINED and (usual is None or usual >= 2 * UNTRAINED):
        return (
            f"hardly looks at the image (it explains {varies:.0%} of its scores' variance), as an "
            "untrained model does: give trained models, or check its preprocessing."
        )
    right, usual = model.accuracy, victim.accuracy
    if right is not None and usual is not None and right < usual / 2:
        return (
            f"is right on {right:.0%} of the images, and the victim on {usual:.0%}: give models "
            "that were trained for the victim's task, or check its preprocessing."
        )
    return ""


def _largest_share(model: ModelFacts) -> float | None:
    """The share of the most frequent class."""
    if model.labels is None or len(np.asarray(model.labels)) < 2:
        return None
    labels = np.asarray(model.labels)
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def _share_of_image(model: ModelFacts) -> float | None:
    """The part of the variance of a model's contrasts that is not the same at every reference."""
    if model.scores is None or len(np.asarray(model.scores)) < 2:
        return None
    contrasts = _contrasts(model.scores)
    total = contrasts.var()
    return float(contrasts.var(0).mean() / total) if total else 0.0


def _same_weights(one: ModelFacts, other: ModelFacts) -> bool:
    return bool(one.weights_sha256) and one.weights_sha256 == other.weights_sha256


def _same_answers(one: ModelFacts, other: ModelFacts) -> bool:
    """Whether two models compute the same scores, as far as the references show.

    Labels alone do not: good models of an easy task agree at every reference.
    """
    if one.scores is None or other.scores is None:
        return False
    ours, theirs = _contrasts(one.scores), _contrasts(other.scores)
    if ours.shape != theirs.shape or not ours.std() or not theirs.std():
        return False
    ours, theirs = ours / ours.std(), theirs / theirs.std()
    if _apart(ours, theirs) <= SAME_SCORES:
        return True
    # What holds for classes in the right order holds for scores in ascending order.
    if _apart(np.sort(ours, 1), np.sort(theirs, 1)) > SAME_SCORES:
        return False
    rows, columns = linear_sum_assignment(ours.T @ theirs, maximize=True)
    return _apart(ours[:, rows], theirs[:, columns]) <= SAME_SCORES


def _contrasts(scores: ArrayLike) -> np.ndarray:
    values = np.asarray(scores, dtype=float)
    return values - values.mean(1, keepdims=True)


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.sqrt(np.square(ours - theirs).mean()))


def _line(model: ModelFacts, everyone: Mapping[str, ModelFacts], ancestor: str) -> list[str]:
    """The model's forebears, nearest first, by name where they are here; not past `ancestor`."""
    by_digest = {m.weights_sha256: m.name for m in everyone.values() if m.weights_sha256}
    line: list[str] = []
    while model.parent or model.parent_sha256:
        parent = by_digest.get(model.parent_sha256) or model.parent or model.parent_sha256
        if ancestor and ancestor in (parent, model.parent, model.parent_sha256):
            break
        if parent in line or parent == model.name:
            break
        line.append(parent)
        if parent not in everyone:
            break
        model = everyone[parent]
    return line


def _starts(model: ModelFacts, everyone: Mapping[str, ModelFacts], ancestor: str) -> bool:
    """Whether the model's cards lead to the ancestor."""
    first = [model.name, *_line(model, everyone, ancestor)][-1]
    if not ancestor or first not in everyone:
        return False
    model = everyone[first]
    return ancestor in (model.parent, model.parent_sha256)


def _is_stranger(model: ModelFacts, everyone: Mapping[str, ModelFacts], ancestor: str) -> bool:
    """Whether the model is known to start elsewhere, or not known to start from the ancestor."""
    if model.shares_origin_with_victim is not None:
        return not model.shares_origin_with_victim
    return bool(ancestor) and not _starts(model, everyone, ancestor)


def _origins(
    kept: Sequence[ModelFacts], everyone: Mapping[str, ModelFacts], ancestor: str
) -> tuple[str, ...]:
    """Of each model its earliest forebear on cards; one for those that share a start.

    From a common ancestor all models share their start, so that only cards part them.
    """
    found = {m.name: [m.name, *_line(m, everyone, ancestor)][-1] for m in kept}
    for model in kept if not ancestor else ():
        for other in model.shares_origin_with & found.keys():
            old, new = found[other], found[model.name]
            found = {name: new if origin == old else origin for name, origin in found.items()}
    return tuple(found[model.name] for model in kept)


def _warnings(
    victim: str,
    kin: Sequence[str],
    strangers: Sequence[str],
    origins: Sequence[str],
    n_dropped: int,
) -> tuple[str, ...]:
    found = []
    if n_dropped:
        found.append(
            f"{n_dropped} of {n_dropped + len(origins)} independent models are left out, each for "
            "the reason given: give others in their place."
        )
    crowded = [(origin, count) for origin, count in Counter(origins).items() if count > 1]
    if crowded:
        some = ", ".join(f"{count} from {origin}" for origin, count in crowded[:_EXAMPLES])
        found.append(
            f"{len(origins)} independent models have {len(set(origins))} origins ({some}), and "
            "each origin counts once. Give independents that were made from other models, or from "
            "scratch."
        )
    if strangers:
        who = f"{', '.join(kin[:_EXAMPLES])} and " if kin else ""
        found.append(
            f"{who}the victim {victim} descend from one start, and {len(strangers)} of "
            f"{len(origins)} independents are not known to: whoever starts there would look "
            "derived beside them. Give independents that start there, and name it as the common "
            "ancestor; where there is no public one, the common start is itself the evidence."
        )
    return tuple(found)
