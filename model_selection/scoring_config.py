"""Which scores are computed, on which features, and how they are evaluated."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from modelgif.experiment.config import Config
from modelgif.transferability import scores

if TYPE_CHECKING:
    ScoreName = BaseName = str
else:
    # Every registered score; and those that energy descent can precede: it moves features, which
    # LEEP and NCE do not see, and a sum over the compared models is no score of one model.
    ScoreName = Literal[*scores()]
    BaseName = Literal[*(n for n, s in scores(needs="features").items() if s.parts is None)]
Settings = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


class GridConfig(Config):
    """Settings of potential energy descent under LogME, to see how much depends on them.

    Attributes:
        n_sigma: reaches of the classes, in radii; the paper tries 0.3 and 0.6.
        dt: time steps.
    """

    n_sigma: Settings = (0.3, 0.6, 1.0)
    dt: Settings = (0.05, 0.1, 0.3, 1.0)


class PedConfig(Config):
    """Potential energy descent, see `modelgif.transferability.ped`; the defaults are the authors'.

    Attributes:
        bases: scores that are read off the moved features as well.
        n_sigma: reach of the classes, in radii.
        dt: time step.
        grid: other settings to compare with these; None for none.
    """

    bases: tuple[BaseName, ...] = ("logme", "sfda", "nleep", "gbc")
    n_sigma: PositiveFloat = 0.6
    dt: PositiveFloat = 0.1
    grid: GridConfig | None = GridConfig()


class HalvesConfig(Config):
    """Scores of random halves of the samples: how much a ranking owes to which samples it saw.

    Attributes:
        count: halves of each task, the same for every model; 0 for none.
        scores: which are computed on them, with PED where it is computed at all.
    """

    count: NonNegativeInt = 20
    scores: tuple[ScoreName, ...] = ("logme", "sfda", "gbc", "h_score", "regularised_h_score")


class ScoresConfig(Config):
    """Which scores are computed, and on what.

    Attributes:
        names: scores; LEEP and NCE exist only for models with source classes.
        split: whose features are scored: those of the training images, or, as in the published
            tables, those of the test images that the accuracy is measured on.
        ped: potential energy descent.
        nleep_max_components: at most so many components of NLEEP's mixture; None for the authors'
            five per class whatever the cost.
        halves: scores of random halves of the samples.
    """

    names: tuple[ScoreName, ...] = (
        *("logme", "sfda", "nleep", "gbc", "parc", "h_score", "regularised_h_score"),
        *("transrate", "ncti", "etran", "knn", "linear_probe", "leep", "nce"),
    )
    split: Literal["train", "test"] = "train"
    ped: PedConfig = PedConfig()
    nleep_max_components: PositiveInt | None = None
    halves: HalvesConfig = HalvesConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for where, names in (
            ("names", self.names),
            ("ped.bases", self.ped.bases),
            ("halves.scores", self.halves.scores),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{where} has {twice[0]} twice")
            unknown = [name for name in names if name not in self.names]
            if unknown:
                raise ValueError(f"{where} has {unknown[0]}, which names does not compute")
        return self


class EvaluationConfig(Config):
    """How rankings of models are evaluated.

    Attributes:
        top_k: how many of the best models a recall asks for.
        n_bootstrap: bootstrap draws of models behind an interval.
        n_permutations: shuffled orders behind a null spread and a p-value.
        level: of the intervals.
    """

    top_k: PositiveInt = 3
    n_bootstrap: PositiveInt = 1000
    n_permutations: PositiveInt = 1000
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
