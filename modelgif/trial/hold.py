"""Holding a trial: every model looked at once, fields compared, and each suspect answered."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from modelgif.distances.pairs import ZeroCellWarning
from modelgif.lineage import USUAL_SEEDS
from modelgif.methods import label_agreement
from modelgif.references.examination import examine_references
from modelgif.references.references import References
from modelgif.trial.architecture import architecture_of
from modelgif.trial.class_matching import matched_classes
from modelgif.trial.descent import Descent
from modelgif.trial.examined import Examined, examine
from modelgif.trial.trial import Judgement, Source, Trial
from modelgif.verdict import Calibration, Correction, ModelKind, Verdict, verdicts
from modelgif.verdict.calibration_set import CalibrationSet, examine_calibration_set
from modelgif.verdict.evidence import Line, origin_line, power_of_ten, ranked_line
from modelgif.verdict.settlement import Start, settle
from modelgif.zoo.stream import StreamedDistances, stream_distances

# A field with a larger share of zero cells describes nothing.
MOST_ZERO = 0.5
# By how much matching the classes must lower label disagreement to be worth a note.
ANOTHER_ORDER = 0.2
# Fewer independents cannot be standardised; how many could decide is many more.
MIN_COMPARED = 2


def hold_trial(
    victim: tuple[str, Source],
    suspects: Mapping[str, Source],
    independents: Mapping[str, Source],
    references: References,
    *,
    ancestors: Mapping[str, Source] | None = None,
    own_initialisation: bool = False,
    build: Callable[..., nn.Module] | None = None,
    seeds: Iterable[int] = USUAL_SEEDS,
    parents: Mapping[str, str] | None = None,
    target: str = "class_contrast",
    baseline: float | Tensor = 0.0,
    n_steps: int = 50,
    level: float = 0.05,
    correction: Correction = "holm",
    calibration: Calibration = "matched",
    n_bootstrap: int = 200,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: bool = False,
) -> Trial:
    """Returns what every line of evidence shows about each suspect, and what it adds up to.

    - *origin*: whether suspect and victim descend from one random start, by the order of their
      hidden units, see `modelgif.lineage.origin_test`; needs a common architecture and no
      independent model
    - *changes*: where a public ancestor explains that, whether the suspect moved away from it as
      the victim did, among independents of the same ancestor
    - *field and labels*: whether the suspect's function is nearer to the victim's than those of
      independents are; of independents that share the victim's origin where the suspect does

    A model that cannot be judged by one of them is judged by the others. A line that was not asked
    says why, and is never taken for innocence; see `modelgif.verdict.settlement.settle`.

    Args:
        victim: its name and the model, or a function that makes it.
        suspects: by name.
        independents: known to be made without the victim, by name; may be empty.
        references: where models are compared.
        ancestors: public models that the victim may have been made from, by name.
        own_initialisation: the statement of the victim's owner that it was trained from a private
            random start.
        build: makes the victim's architecture with weights as drawn at the start, by which usual
            seeds are tried; None where that cannot be done.
        seeds: to try.
        parents: the parent that a model's card names, by name of the model.
        target: see `modelgif.resolve_target`.
        baseline: where paths start.
        n_steps: nodes on the path.
        level: chance that any innocent suspect is called derived by comparison; tests of origin add
            `modelgif.verdict.evidence.ORIGIN_LEVEL`.
        correction: for several suspects, see `modelgif.verdict.adjust`.
        calibration: see `modelgif.verdict.verdicts`.
        n_bootstrap: draws of references for intervals.
        seed: of every draw.
        device: where to compute fields.
        dtype: in which.
        progress: whether to show progress on the terminal.

    Raises:
        ValueError: for no suspects, a name used twice, or a victim that cannot be judged.
    """
    names = [victim[0], *suspects, *independents]
    if not suspects or len(set(names)) < len(names):
        raise ValueError(
            "expected at least one suspect, and a different name for every model, got "
            f"{', '.join(names)}."
        )
    checked = examine_references(references, baseline=baseline)
    look = partial(examine, images=references.images, target=target, baseline=baseline, seed=seed)
    own = _made(victim[1])
    found = {victim[0]: look(victim[0], own, architecture=architecture_of(own))}
    if found[victim[0]].failure:
        raise ValueError(f"{victim[0]}: {found[victim[0]].failure}")
    descent = Descent(
        own, {n: _made(s) for n, s in (ancestors or {}).items()}, references.images[:2]
    )
    everyone = {**suspects, **independents}
    for name, source in tqdm(everyone.items(), "models", disable=not progress):
        try:
            model = _made(source)
        except Exception as error:
            found[name] = Examined(name, failure=f"cannot be loaded: {error}")
            descent.missing[name] = "it cannot be loaded"
            continue
        found[name] = look(
            name, model, architecture=architecture_of(model), check_gradients=name in suspects
        )
        descent.ask(name, model)
    shared = any(descent.shares(name) for name in suspects)
    # Only a common origin needs an explanation, and trying seeds builds the network many times.
    start = descent.start(own_initialisation, build if shared else None, seeds)
    if shared and build is None and start == "own":
        descent.notes.append(
            "Common seeds were not tried, because the victim's architecture cannot be built anew "
            "from what is known of it: whoever calls the same seed shares its random start. Give "
            "the victim as a checkpoint with a card, or with its architecture."
        )
    believed = _believed(found, descent, victim[0], tuple(suspects), tuple(independents), parents)
    keep = list(checked.keep) if checked.enough else []
    rows = checked.keep or range(len(references))
    kept = References(references.images[list(rows)], tuple(references.ids[row] for row in rows))
    evidence = _Comparison(found, descent, believed, victim[0], tuple(suspects), keep)
    fields = None
    if keep and evidence.described:
        sources = {victim[0]: victim[1], **everyone}
        fields = _fields(
            {name: sources[name] for name in evidence.described},
            kept,
            victim[0],
            target=target,
            baseline=_rows(baseline, references.images, keep),
            n_steps=n_steps,
            device=device,
            dtype=torch.float64 if any(e.needs_float64 for e in found.values()) else dtype,
            progress=progress,
        )
        evidence.add(fields, n_steps)
    options = {
        "correction": correction,
        "calibration": calibration,
        "level": level,
        "n_bootstrap": n_bootstrap,
    }
    changes, ranked = evidence.verdicts(options, torch.Generator().manual_seed(seed))
    origins = _corrected(descent, tuple(suspects))
    judgements = tuple(
        _judgement(name, evidence, descent, start, origins, changes, ranked) for name in suspects
    )
    shown = (victim[0], *believed.kept)
    notes = [
        *checked.notes,
        *descent.notes,
        *(f"{name}: {why}" for name, why in believed.dropped.items()),
        *believed.warnings,
        *(f"{name}: {note}" for name in shown for note in found[name].notes),
        *(f"{name}: {found[name].failure}" for name in believed.kept if found[name].failure),
        *evidence.notes,
    ]
    return Trial(
        victim=victim[0],
        judgements=judgements,
        examined=found,
        references=references,
        kept=kept,
        independents=believed.kept,
        fields=fields,
        start=start,
        ancestor=descent.ancestor,
        level=level,
        notes=tuple(notes),
        labels=evidence.labels,
        changes=descent.changes,
    )


class _Comparison:
    """Distances to the victim, and which independents each suspect may be compared with."""

    def __init__(
        self,
        found: Mapping[str, Examined],
        descent: Descent,
        believed: CalibrationSet,
        victim: str,
        suspects: tuple[str, ...],
        keep: list[int],
    ) -> None:
        self.found, self._descent, self._believed = found, descent, believed
        self._victim, self._suspects, self._keep = victim, suspects, keep
        self.notes: list[str] = []
        own = found[victim]
        models = [*suspects, *believed.kept]
        self.labels: dict[str, Tensor] = {
            name: self._disagreement(name)
            for name in models
            if keep and found[name].n_classes == own.n_classes
        }
        self._field: dict[str, Tensor] = {}
        with_field = [name for name in models if own.has_field and found[name].has_field]
        # Fields are the expensive part, and of no use without anybody to compare with.
        asked = [name for name in suspects if self.eligible(name)]
        self.described = [victim, *with_field] if asked and with_field else []

    def _disagreement(self, name: str) -> Tensor:
        """Label disagreement with the victim at each reference, classes matched for every model.

        A suspect whose classes come in another order would else disagree everywhere, and look
        farther away than any honest model. Honest models are treated alike.
        """
        own, other = (self.found[n].labels()[self._keep] for n in (self._victim, name))
        classes = matched_classes(own, other, self.found[name].n_classes)
        matched = label_agreement.per_reference(own, classes[other])
        plain = label_agreement.per_reference(own, other)
        if plain.mean() - matched.mean() > ANOTHER_ORDER:
            self.notes.append(
                f"{name}: its classes come in another order than the victim's (labels disagree at "
                f"{plain.mean():.0%} of the references, and at {matched.mean():.0%} once classes "
                "are matched)."
            )
        return matched

    def eligible(self, suspect: str) -> list[str]:
        """The independents that a suspect may be compared with, by field or labels."""
        found, own = self.found, self.found[suspect]
        if own.failure:
            return []
        shared = self._descent.shares(suspect)
        return [
            name
            for name in self._believed.kept
            if not found[name].failure and not (shared and not self._descent.shares(name))
        ]

    def add(self, fields: StreamedDistances, n_steps: int) -> None:
        """Takes up the distances of fields; one that is mostly zero says nothing."""
        assert fields.per_reference is not None
        n_cells = len(self._keep) * n_steps
        for name, row, zeros in zip(
            fields.names, fields.per_reference, fields.zero_cells.tolist(), strict=True
        ):
            if zeros > MOST_ZERO * n_cells:
                self.notes.append(
                    f"{name}: {zeros} of {n_cells} cells of its field are zero and say nothing "
                    "about its function. Its field is not used as evidence."
                )
            elif name != self._victim:
                self._field[name] = row
        for name in self._suspects:
            labels, row = self.labels.get(name), self._field.get(name)
            if labels is None or row is None or labels.any():
                continue
            others = [self._field[n] for n in self.eligible(name) if n in self._field]
            if others and row.mean() > torch.stack(others).mean(1).median():
                self.notes.append(
                    f"{name}: it gives the victim's label at every reference, and its field is as "
                    "far as those of independent models: the two contradict each other, as they do "
                    "for a model whose gradients are not what they seem. Look at its code, or ask "
                    "for its weights."
                )

    def verdicts(
        self, options: Mapping[str, object], generator: torch.Generator
    ) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
        """The verdicts by changes and by field and labels, corrected together."""
        by_changes = [n for n in self._suspects if n in self._descent.changes]
        judged = [n for n in self._believed.kept if n in self._descent.changes]
        scores = {"changes": [-self._descent.changes[n].median for n in by_changes]}
        known = {"changes": [-self._descent.changes[n].median for n in judged]}
        by_changes = by_changes if judged else []
        others = [n for n in self._suspects if n not in by_changes and self._comparable(n)]
        first: dict[str, Verdict] = {}
        family: list[float] = []
        if by_changes:
            # All have the ancestor's layers: a head of another size is no other architecture here.
            kinds = [ModelKind("", "") for _ in by_changes]
            voices = [ModelKind("", "") for _ in judged]
            first = {
                v.suspect: v
                for v in verdicts(
                    by_changes,
                    scores,
                    known,
                    suspect_kinds=kinds,
                    independent_kinds=voices,
                    origins=self._origins(judged),
                    **(dict(options) | {"n_bootstrap": 0}),  # pyright: ignore[reportArgumentType]
                )
            }
            family = [v.p_value for v in first.values()]
        if not others:
            return first, {}
        kept = list(self._believed.kept)
        mask = [[n in set(self._comparable(s)) for n in kept] for s in others]
        found = verdicts(
            others,
            {m: np.stack([self._row(m, n) for n in others]) for m in ("field", "labels")},
            {m: np.stack([self._row(m, n) for n in kept]) for m in ("field", "labels")},
            suspect_kinds=[ModelKind(self.found[n].architecture, "") for n in others],
            independent_kinds=[ModelKind(self.found[n].architecture, "") for n in kept],
            eligible=mask,
            origins=self._origins(kept),
            family=family,
            generator=generator,
            **dict(options),  # pyright: ignore[reportArgumentType]
        )
        return first, {v.suspect: v for v in found}

    def missing(self, name: str) -> str:
        """Why a suspect is not compared by field and labels."""
        if self.found[name].failure:
            return f"it cannot be judged by its function: {self.found[name].failure}"
        if not self._keep:
            return "there are too few distinct references"
        if not self._believed.kept:
            return "no independent model was given, or none is left"
        if not self.eligible(name):
            return (
                "it shares the victim's origin and no independent model does, so that each of them "
                "differs from it in more than the victim"
            )
        if name not in self.labels and name not in self._field:
            return "it has other classes than the victim, and no gradient field"
        able = len([n for n in self.eligible(name) if n in self.labels or n in self._field])
        return f"{able} independent models are left that can be compared, too few to compare with"

    def _comparable(self, suspect: str) -> list[str]:
        methods = [m for m in ("field", "labels") if self._has(m, suspect)]
        able = [n for n in self.eligible(suspect) if all(self._has(m, n) for m in methods)]
        # Several methods are standardised, which takes two other models at least.
        return able if methods and len(able) >= MIN_COMPARED else []

    def _has(self, method: str, name: str) -> bool:
        return name in (self._field if method == "field" else self.labels)

    def _row(self, method: str, name: str) -> np.ndarray:
        rows = self._field if method == "field" else self.labels
        row = rows.get(name)
        return np.full(len(self._keep), np.nan) if row is None else row.double().numpy()

    def _origins(self, names: Sequence[str]) -> list[str]:
        voices = dict(zip(self._believed.kept, self._believed.origins, strict=True))
        return [voices[name] for name in names]


def _judgement(
    name: str,
    evidence: _Comparison,
    descent: Descent,
    start: Start,
    origins: Mapping[str, float],
    changes: Mapping[str, Verdict],
    ranked: Mapping[str, Verdict],
) -> Judgement:
    lines = (
        _origin(name, descent, origins),
        _changes(name, descent, changes.get(name)),
        _ranked(name, evidence, ranked.get(name), by_changes=name in changes),
    )
    settled = settle(*lines, start=start)
    verdict = changes.get(name) or ranked.get(name)
    examined = evidence.found[name]
    said = [*examined.notes, examined.failure, verdict.note if verdict is not None else ""]
    return Judgement(
        suspect=name,
        answer=settled.answer,
        because=settled.because,
        would_settle=settled.would_settle,
        evidence=lines,
        verdict=verdict,
        origin=descent.origins.get(name),
        changes=descent.changes.get(name),
        notes=tuple(filter(None, said)),
    )


def _origin(name: str, descent: Descent, origins: Mapping[str, float]) -> Line:
    if name not in descent.origins:
        return origin_line(None, missing=descent.missing[name])
    return origin_line(origins[name], matched=descent.matched(name))


def _changes(name: str, descent: Descent, verdict: Verdict | None) -> Line:
    if verdict is not None:
        cosine = descent.changes[name].median
        return ranked_line(
            "changes",
            verdict.decision,
            f"cosine of the changes {cosine:.2f}, {_among(verdict)}",
            p_value=verdict.adjusted_p_value,
        )
    if descent.ancestor is None:
        return ranked_line("changes", None, "no ancestor explains the victim's origin")
    if name not in descent.changes:
        return ranked_line("changes", None, f"it does not descend from {descent.ancestor}")
    return ranked_line(
        "changes",
        None,
        f"cosine of the changes {descent.changes[name].median:.2f}, but no independent model that "
        f"was made from {descent.ancestor}",
    )


def _ranked(name: str, evidence: _Comparison, verdict: Verdict | None, *, by_changes: bool) -> Line:
    if verdict is None:
        why = "the changes decide" if by_changes else evidence.missing(name)
        return ranked_line("field and labels", None, why)
    methods = " and ".join(verdict.methods)
    return ranked_line(
        "field and labels",
        verdict.decision,
        f"by {methods}, {_among(verdict)}",
        p_value=verdict.adjusted_p_value,
    )


def _among(verdict: Verdict) -> str:
    return (
        f"p = {power_of_ten(math.log10(verdict.p_value))} among {verdict.n_independents} "
        "independent models"
    )


def _believed(
    found: Mapping[str, Examined],
    descent: Descent,
    victim: str,
    suspects: tuple[str, ...],
    independents: tuple[str, ...],
    parents: Mapping[str, str] | None,
) -> CalibrationSet:
    if not independents:
        return CalibrationSet((), (), {}, (), ())
    known = parents or {}

    def facts(name: str) -> object:
        shares = descent.shares(name) if name in descent.origins else None
        return found[name].facts(known.get(name, ""), None if name == victim else shares)

    return examine_calibration_set(
        facts(victim),  # pyright: ignore[reportArgumentType]
        [facts(name) for name in suspects],  # pyright: ignore[reportArgumentType]
        [facts(name) for name in independents],  # pyright: ignore[reportArgumentType]
        ancestor=descent.ancestor or "",
    )


def _corrected(descent: Descent, suspects: tuple[str, ...]) -> dict[str, float]:
    """The corrected log10 p of each suspect's test of origin, by Holm's procedure in logarithms."""
    asked = sorted(
        (name for name in suspects if name in descent.origins),
        key=lambda name: descent.origins[name].log10_p,
    )
    corrected, largest = {}, -math.inf
    for i, name in enumerate(asked):
        stepped = descent.origins[name].log10_p + math.log10(len(asked) - i)
        largest = max(largest, stepped)
        corrected[name] = min(0.0, largest)
    return corrected


def _fields(
    models: Mapping[str, Source], references: References, victim: str, **options: object
) -> StreamedDistances:
    with warnings.catch_warnings():
        # Notes say it.
        warnings.simplefilter("ignore", ZeroCellWarning)
        return stream_distances(
            dict(models),
            references,
            against=victim,
            **options,  # pyright: ignore[reportArgumentType]
        )


def _rows(baseline: float | Tensor, images: Tensor, keep: list[int]) -> float | Tensor:
    each = isinstance(baseline, Tensor) and baseline.ndim == images.ndim and len(baseline) > 1
    return baseline[keep] if each and isinstance(baseline, Tensor) else baseline


def _made(source: Source) -> nn.Module:
    return source if isinstance(source, nn.Module) else source()
