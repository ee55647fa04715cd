"""What is compared where, and how it is evaluated: references, scores, verdicts."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AliasChoices, ConfigDict, Field, PositiveInt, model_validator

from intellectual_property_protection.methods import PER_REFERENCE_NAMES, SET_NAMES
from modelgif.experiment.config import Config
from modelgif.verdict import Calibration

# Where candidates come from: each source is a pool, drawn by seed, whose prefixes are smaller ones.
Source = Literal["random", "misclassified", "cutmix", "adversarial"]
# Whose distances tell which candidates of a pool are used.
Ranking = Literal["independents", "surrogates", "gap"]
Protocol = Literal["split", "paper"]
if TYPE_CHECKING:
    PerReferenceMethod = SetMethod = str
else:
    # Closed as any other choice, but read from the methods that there are.
    PerReferenceMethod = Literal[PER_REFERENCE_NAMES]
    SetMethod = Literal[SET_NAMES]


class PerturbationConfig(Config):
    """How far adversarial candidates are moved, in pixels of [0, 1].

    Attributes:
        epsilon: largest change of a pixel.
        step_size: change of a pixel per step.
        n_steps: steps of the attack.
    """

    epsilon: Annotated[float, Field(gt=0, le=1)] = 0.1
    step_size: Annotated[float, Field(gt=0, le=1)] = 0.025
    n_steps: PositiveInt = 10


class ReferencesConfig(Config):
    """At which images models are described; all are test images, which no model has learnt.

    Attributes:
        sources: the pools of candidates.
        pool: candidates per source; `misclassified` has fewer where the victim errs less often.
        count: references of every score, the first or the best ones of a pool.
        perturbation: of the source `adversarial`.
    """

    sources: tuple[Source, ...] = Field(
        default=("random", "misclassified", "cutmix", "adversarial"), min_length=1
    )
    pool: PositiveInt = 512
    count: PositiveInt = 128
    perturbation: PerturbationConfig = PerturbationConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.count > self.pool:
            raise ValueError(f"count {self.count} exceeds the pool of {self.pool} candidates")
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("a source is named twice")
        return self


class CombinationConfig(Config):
    """Scores whose standardised values are added, under a name.

    Attributes:
        name: what tables call the sum.
        scores: which are added, such as ``field@random``.
    """

    name: Annotated[str, Field(min_length=1, pattern="^[^@]*$")]
    scores: tuple[str, ...] = Field(min_length=1)


# Keys by which earlier versions called a setting, and which are still written.
_EARLIER = {
    "per_reference_methods": "means",
    "set_methods": "wholes",
    "set_sources": "whole_sources",
    "min_independents": "fewest",
    "n_bootstrap": "resamples",
}


def _also_earlier(name: str) -> dict[str, Any]:
    """Arguments of a field that may be called by its earlier key, and is written by it."""
    earlier = _EARLIER[name]
    return {"validation_alias": AliasChoices(name, earlier), "serialization_alias": earlier}


class EvaluationConfig(Config):
    """Which scores are computed, and how suspects are evaluated by them.

    A score is called ``METHOD@SOURCE``, or ``METHOD@SOURCE/RANKING`` when references are chosen.

    Files may use the key of an earlier version, which is also the one that is written, so that the
    digest of a configuration stays what it was: ``means``, ``wholes``, ``whole_sources``,
    ``fewest`` and ``resamples`` for `per_reference_methods`, `set_methods`, `set_sources`,
    `min_independents` and `n_bootstrap`.

    Attributes:
        per_reference_methods: methods whose score is a mean over references.
        set_methods: methods that compare the references of a source as a whole.
        set_sources: the sources of `set_methods`.
        rankings: how references are chosen for the methods `ranked`.
        ranked: methods of which chosen references are tried, beside the first ones of the pool.
        protocols: `split` never chooses references with the models it tests; `paper` does.
        folds: parts of the independents in `split`: each is tested with references that the others
            chose.
        combinations: sums of standardised scores.
        verdict: the score or combination by which verdicts are passed.
        min_independents: how many independents of a suspect's architecture and training are
            enough; with fewer, those of its architecture are taken, and with too few of these, all.
        calibration: `matched` compares a suspect with these alone, which keeps the level exactly;
            `standardised` with the independents of every architecture and training, each
            standardised against its own.
        curve: numbers of references for the curve of AUC.
        n_bootstrap: draws of the references for the spread of an AUC and of a p-value.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    per_reference_methods: tuple[PerReferenceMethod, ...] = Field(
        default=(
            *("field", "field_last", "field_late", "labels", "jsd", "saliency", "gradient_input"),
        ),
        min_length=1,
        **_also_earlier("per_reference_methods"),
    )
    set_methods: tuple[SetMethod, ...] = Field(
        default=(
            *("sac", "sac_labels", "cka", "rsa", "dds", "depara", "zest", "model_diff", "ipguard"),
        ),
        **_also_earlier("set_methods"),
    )
    set_sources: tuple[Source, ...] = Field(
        default=("random", "misclassified"), **_also_earlier("set_sources")
    )
    rankings: tuple[Ranking, ...] = ("independents", "surrogates", "gap")
    ranked: tuple[PerReferenceMethod, ...] = ("field", "field_last")
    protocols: tuple[Protocol, ...] = ("split", "paper")
    folds: Annotated[int, Field(ge=2)] = 5
    combinations: tuple[CombinationConfig, ...] = (
        CombinationConfig(name="combined", scores=("field_last@random", "labels@misclassified")),
        CombinationConfig(
            name="combined (whole field)", scores=("field@random", "labels@misclassified")
        ),
        CombinationConfig(
            name="combined (misclassified)",
            scores=("field_last@misclassified", "labels@misclassified"),
        ),
        CombinationConfig(
            name="combined (CutMix)", scores=("field_last@cutmix", "labels@misclassified")
        ),
        CombinationConfig(
            name="combined (gap)", scores=("field_last@random/gap", "labels@misclassified")
        ),
        # The best of some 400 sums of two or three scores on the first zoo of small.yaml, and
        # confirmed on the second.
        CombinationConfig(
            name="combined (last step, gap)",
            scores=("field_last@random/gap", "field_last@cutmix/gap"),
        ),
        CombinationConfig(
            name="combined (many)",
            scores=(
                "field@random",
                "field_last@random",
                "field_last@misclassified",
                "labels@misclassified",
                "jsd@random",
            ),
        ),
    )
    verdict: str = "combined"
    min_independents: int = Field(default=5, ge=2, **_also_earlier("min_independents"))
    calibration: Calibration = "matched"
    curve: tuple[PositiveInt, ...] = (8, 16, 32, 64, 128, 256, 512)
    n_bootstrap: PositiveInt = Field(default=200, **_also_earlier("n_bootstrap"))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        unknown = sorted(set(self.ranked) - set(self.per_reference_methods))
        if unknown:
            raise ValueError(f"ranked names {unknown[0]}, which is not among per_reference_methods")
        names = [combination.name for combination in self.combinations]
        if len(set(names)) < len(names):
            raise ValueError("two combinations have one name")
        return self
