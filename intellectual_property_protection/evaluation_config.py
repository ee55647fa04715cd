"""What is compared where, and how it is judged: references, scores, verdicts."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from modelgif.experiment.config import Config
from modelgif.verdict import Calibration

# Where candidates come from: each source is a pool, drawn by seed, whose prefixes are smaller ones.
Source = Literal["random", "misclassified", "cutmix", "adversarial"]
# Whose distances tell which candidates of a pool are used.
Ranking = Literal["independents", "surrogates", "gap"]
Protocol = Literal["split", "paper"]
# Scores that are means over references, so that a choice of references is a choice of columns.
Mean = Literal[
    "field",
    "field_last",
    "field_late",
    "labels",
    "jsd",
    "kl",
    "saliency",
    "gradient_input",
    "gradient",
]
# Scores of a set of references as a whole.
Whole = Literal[
    "sac",
    "sac_labels",
    "cka",
    "rsa",
    "dds",
    "depara",
    "zest",
    "model_diff",
    "ipguard",
]


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
        pool: candidates a source; `misclassified` has fewer where the victim errs less often.
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


class EvaluationConfig(Config):
    """Which scores are computed, and how suspects are judged by them.

    A score is called ``METHOD@SOURCE``, or ``METHOD@SOURCE/RANKING`` when references are chosen.

    Attributes:
        means: methods whose score is a mean over references.
        wholes: methods that see all references of a source together.
        whole_sources: the sources of `wholes`.
        rankings: how references are chosen for the methods `ranked`.
        ranked: methods of which chosen references are tried, beside the first ones of the pool.
        protocols: `split` never chooses references with the models it tests; `paper` does.
        folds: parts of the independents in `split`: each is tested with references that the others
            chose.
        combinations: sums of standardised scores.
        verdict: the score or combination by which verdicts are passed.
        fewest: independents of a suspect's kind (architecture and training) below which those of
            its architecture are taken, and below which of those, all.
        calibration: `matched` judges a suspect among these alone, which keeps the level exactly;
            `standardised` among the independents of all kinds, each measured by its own.
        curve: numbers of references for the curve of AUC.
        resamples: draws of the references for the spread of an AUC and of a p-value.
    """

    means: tuple[Mean, ...] = Field(
        default=(
            "field",
            "field_last",
            "field_late",
            "labels",
            "jsd",
            "saliency",
            "gradient_input",
        ),
        min_length=1,
    )
    wholes: tuple[Whole, ...] = (
        *("sac", "sac_labels", "cka", "rsa", "dds", "depara", "zest", "model_diff", "ipguard"),
    )
    whole_sources: tuple[Source, ...] = ("random", "misclassified")
    rankings: tuple[Ranking, ...] = ("independents", "surrogates", "gap")
    ranked: tuple[Mean, ...] = ("field", "field_last")
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
    fewest: Annotated[int, Field(ge=2)] = 5
    calibration: Calibration = "matched"
    curve: tuple[PositiveInt, ...] = (8, 16, 32, 64, 128, 256, 512)
    resamples: PositiveInt = 200

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        unknown = sorted(set(self.ranked) - set(self.means))
        if unknown:
            raise ValueError(f"ranked names {unknown[0]}, which is not among the means")
        names = [combination.name for combination in self.combinations]
        if len(set(names)) < len(names):
            raise ValueError("two combinations have one name")
        return self
