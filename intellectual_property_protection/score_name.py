"""Names of scores: ``METHOD@SOURCE``, ``METHOD@SOURCE/RANKING``, and ``…/paper`` where it leaks."""

from collections.abc import Iterator
from typing import NamedTuple

from intellectual_property_protection.evaluation_config import (
    EvaluationConfig,
    Protocol,
    Ranking,
    ReferencesConfig,
    Source,
)
from modelgif.loading.address import did_you_mean

LABELS = "labels"


class ScoreName(NamedTuple):
    """What a score is computed with.

    Attributes:
        method: see `intellectual_property_protection.methods`.
        source: of its references.
        ranking: how they are chosen; None for the first of the pool.
        protocol: `paper` when the independents that chose them are also those it is tested on.
    """

    method: str
    source: Source
    ranking: Ranking | None = None
    protocol: Protocol = "split"

    def __str__(self) -> str:
        chosen = "" if self.ranking is None else f"/{self.ranking}"
        return f"{self.method}@{self.source}{chosen}" + ("/paper" if self.leaks else "")

    @property
    def leaks(self) -> bool:
        """Whether its references were chosen with the models it is tested on."""
        return self.protocol == "paper"


def score_names(references: ReferencesConfig, evaluation: EvaluationConfig) -> list[ScoreName]:
    """Returns all scores that the configuration asks for; combinations are made from them."""
    return list(_named(references, evaluation))


def main_score(references: ReferencesConfig, evaluation: EvaluationConfig) -> ScoreName:
    """Returns the plain score: the first method at the first source."""
    return ScoreName(evaluation.per_reference_methods[0], references.sources[0])


def label_score(references: ReferencesConfig) -> ScoreName:
    """Returns the score that the plain one is shown beside: label disagreement at its source."""
    return ScoreName(LABELS, references.sources[0])


def verdict_scores(references: ReferencesConfig, evaluation: EvaluationConfig) -> list[str]:
    """Returns the scores whose verdicts are reported: the plain one, labels, and the verdict's."""
    found = [str(main_score(references, evaluation))]
    if LABELS in evaluation.per_reference_methods:
        found.append(str(label_score(references)))
    return list(dict.fromkeys([*found, evaluation.verdict]))


def check_scores(
    references: ReferencesConfig, evaluation: EvaluationConfig, *, has_surrogates: bool
) -> None:
    """Checks that every score can be computed, and that combinations and the verdict name some.

    Raises:
        ValueError: naming the first that is not a score, and the nearest that is; or for rankings
            by surrogates of a zoo without them.
    """
    if not has_surrogates and set(evaluation.rankings) - {"independents"}:
        raise ValueError(
            "the rankings surrogates and gap need models of role surrogate: add some, or set "
            "evaluation.rankings to [independents]"
        )
    known = [str(name) for name in score_names(references, evaluation)]
    asked = [part for combination in evaluation.combinations for part in combination.scores]
    for name in asked:
        if name not in known:
            raise ValueError(
                f"evaluation.combinations: {name} is not a score." + _near(name, known)
            )
    verdicts = [*(combination.name for combination in evaluation.combinations), *known]
    if evaluation.verdict not in verdicts:
        raise ValueError(
            f"evaluation.verdict: {evaluation.verdict} is not a score."
            + _near(evaluation.verdict, verdicts)
        )


def _named(references: ReferencesConfig, evaluation: EvaluationConfig) -> Iterator[ScoreName]:
    for method in evaluation.per_reference_methods:
        for source in references.sources:
            yield ScoreName(method, source)
            if method in evaluation.ranked:
                for ranking in evaluation.rankings:
                    for protocol in evaluation.protocols:
                        # Surrogates are not test cases: to choose by them leaks nothing.
                        if ranking != "surrogates" or protocol == "split":
                            yield ScoreName(method, source, ranking, protocol)
    for method in evaluation.set_methods:
        for source in evaluation.set_sources:
            if source in references.sources:
                yield ScoreName(method, source)


def _near(name: str, known: list[str]) -> str:
    return did_you_mean(name, known) or f" Choose one of {', '.join(known)}."
