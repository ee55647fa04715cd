"""All scores of an evaluation, from the comparisons of all models with the victim."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from intellectual_property_protection.comparing.comparison_file import Comparisons
from intellectual_property_protection.evaluation_config import EvaluationConfig, ReferencesConfig
from intellectual_property_protection.score_name import ScoreName, score_names
from intellectual_property_protection.scoring.reference_choice import mean_over, orders, resampled
from intellectual_property_protection.scoring.roles import Roles
from intellectual_property_protection.scoring.score import Score, combine
from intellectual_property_protection.scoring.separation import (
    attack_measurements,
    half_widths,
    separation,
)
from modelgif.experiment.record import Measurement


class Scores:
    """Every score that the configuration asks for, computed once.

    Args:
        comparisons: of all models with the victim.
        roles: the models.
        references: how many, of which sources.
        evaluation: which scores.
    """

    def __init__(
        self,
        comparisons: Comparisons,
        roles: Roles,
        references: ReferencesConfig,
        evaluation: EvaluationConfig,
    ) -> None:
        self.roles = roles
        self.evaluation = evaluation
        self._comparisons = comparisons
        self._count = references.count
        self._orders: dict[ScoreName, list[np.ndarray]] = {}
        self.single: dict[ScoreName, Score] = {
            name: self.of(name, self._count) for name in score_names(references, evaluation)
        }
        by_text = {str(name): score for name, score in self.single.items()}
        self.parts: dict[str, list[Score]] = {text: [score] for text, score in by_text.items()}
        for combination in evaluation.combinations:
            self.parts[combination.name] = [by_text[part] for part in combination.scores]
        self.combined: dict[str, Score] = {
            combination.name: combine(
                self.parts[combination.name], roles, min_independents=evaluation.min_independents
            )
            for combination in evaluation.combinations
        }

    def of(self, name: ScoreName, count: int) -> Score:
        """Returns a score with `count` references."""
        if name.method in self._comparisons.per_reference:
            return mean_over(self._distances(name), self.roles, self._chosen(name), count)
        return Score(self._comparisons.of_sets[str(name)][None], self.roles.folds)

    def attacks(self, generator: np.random.Generator) -> Iterator[tuple[str, list[Measurement]]]:
        """Gives the measurements of attacks by every score and combination.

        The spread of an AUC is half its 95 % interval over draws of the references, for scores that
        are means over references.
        """
        for name, score in self.single.items():
            spread: Mapping[tuple[str, str], float] = {}
            if name.method in self._comparisons.per_reference:
                draws = resampled(
                    self._distances(name),
                    self.roles,
                    self._chosen(name),
                    self._count,
                    n_bootstrap=self.evaluation.n_bootstrap,
                    generator=generator,
                )
                spread = half_widths(self.roles, draws)
            measured = attack_measurements(self.roles, score)
            yield (
                str(name),
                [m._replace(spread=spread.get((m.subject, m.quantity))) for m in measured],
            )
        for text, score in self.combined.items():
            yield text, attack_measurements(self.roles, score)

    def distances(self, shown: Sequence[str]) -> Iterator[tuple[str, list[Measurement]]]:
        """Gives every model's distance to the victim by the scores `shown`.

        The spread of a mean is half its 95 % interval over references. A combination has no
        distance but a sum of deviations, called ``score``.
        """
        for name, score in self.all().items():
            if name not in shown:
                continue
            each = score.contributions
            n = 1 if each is None else each.shape[1]
            spread = np.full(len(score.own), np.nan)
            if each is not None and n > 1:
                spread = 1.96 * each.std(1, ddof=1) / n**0.5
            quantity = "score" if name in self.combined else "distance_to_victim"
            yield (
                name,
                [
                    Measurement(
                        self.roles.names[i],
                        quantity,
                        score.own[i].item(),
                        n,
                        spread[i].item() if np.isfinite(spread[i]) else None,
                    )
                    for i in score.known(range(len(self.roles.members)))
                ],
            )

    def all(self) -> dict[str, Score]:
        """Returns scores and combinations by name."""
        return {str(name): score for name, score in self.single.items()} | self.combined

    def curves(self) -> Iterator[tuple[str, list[Measurement]]]:
        """Gives the AUC within architectures by the number of references, for every attack.

        Sizes are prefixes of one order. Every mean is followed without a choice, the first one with
        every ranking, too.
        """
        first = self.evaluation.per_reference_methods[0]
        for name in self.single:
            if name.method not in self._comparisons.per_reference or name.leaks:
                continue
            if name.ranking is not None and name.method != first:
                continue
            found = []
            for size in sorted(self.evaluation.curve):
                if size <= self._distances(name).shape[1]:
                    score = self.of(name, size)
                    for attack, models in self.roles.attacks.items():
                        separated = separation(
                            score, self.roles, models, self.roles.honest, "architecture"
                        )
                        if separated is not None:
                            quantity = f"auc_matched_with_{size}"
                            found.append(
                                Measurement(attack, quantity, separated.auc.item(), separated.n)
                            )
            yield str(name), found

    def _distances(self, name: ScoreName) -> np.ndarray:
        return self._comparisons.at(name.method, name.source)

    def _chosen(self, name: ScoreName) -> list[np.ndarray]:
        if name not in self._orders:
            self._orders[name] = orders(
                self._distances(name), self.roles, name.ranking, name.protocol
            )
        return self._orders[name]
