"""What weights show in a trial: common origins, ancestors, common seeds."""

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from modelgif.lineage import (
    ChangeSimilarity,
    OriginTest,
    change_similarity,
    common_seed,
    nearest_ancestor,
    origin_test,
)
from modelgif.verdict.evidence import ORIGIN_LEVEL
from modelgif.verdict.settlement import Start


class Descent:
    """The victim's lineage, of which models are asked one after the other.

    Args:
        victim: the victim; it stays in memory.
        ancestors: public networks that it may have been made from, by name.
        example: two inputs, on which networks are run to find their hidden units.

    Attributes:
        origins: the test of each model that was asked, by name.
        missing: why a model was not asked, by name.
        changes: of each model that shares the victim's origin, from the ancestor.
        ancestor: the name of the ancestor that shares the victim's origin; None without one.
        notes: what a reader must know.
    """

    def __init__(
        self, victim: nn.Module, ancestors: Mapping[str, nn.Module], example: Tensor
    ) -> None:
        self._victim, self._example = victim, example
        self.origins: dict[str, OriginTest] = {}
        self.missing: dict[str, str] = {}
        self.changes: dict[str, ChangeSimilarity] = {}
        self.notes: list[str] = []
        self.ancestor: str | None = None
        if ancestors:
            nearest = nearest_ancestor(victim, ancestors, example=example, level=ORIGIN_LEVEL)
            self.ancestor = nearest.name
            if nearest.name is None:
                self.notes.append(
                    f"None of {', '.join(ancestors)} shares an origin with the victim: as its "
                    "ancestors they explain nothing."
                )
        self._start = ancestors[self.ancestor] if self.ancestor is not None else None

    def ask(self, name: str, model: nn.Module) -> None:
        """Asks whether a model shares the victim's origin, and how it changed from the ancestor."""
        try:
            test = origin_test(self._victim, model, example=self._example)
        except Exception as error:
            self.missing[name] = f"its hidden units cannot be matched to the victim's: {error}"
            return
        if not test.layers:
            reasons = dict.fromkeys(left.reason for left in test.left_out)
            self.missing[name] = (
                "no hidden layer can be compared with the victim's "
                f"({'; '.join(list(reasons)[:2]) or 'none was found'})"
            )
            return
        self.origins[name] = test
        if self._start is not None and self.shares(name):
            try:
                self.changes[name] = change_similarity(self._victim, model, self._start)
            except ValueError as error:
                self.notes.append(f"{name}: {error}")

    def shares(self, name: str) -> bool:
        """Returns whether a model shares the victim's origin, by a test of its own."""
        return name in self.origins and 10 ** self.origins[name].log10_p <= ORIGIN_LEVEL

    def start(
        self,
        own_initialisation: bool,
        build: Callable[..., nn.Module] | None,
        seeds: Iterable[int],
    ) -> Start:
        """Returns what explains the victim's random start."""
        if self.ancestor is not None:
            if own_initialisation:
                self.notes.append(
                    f"The victim shares its origin with {self.ancestor}, and so was not trained "
                    "from a private random start, as was stated: that is left aside."
                )
            return "ancestor"
        if build is not None:
            try:
                seed = common_seed(self._victim, build, seeds=seeds, example=self._example)
            except ValueError as error:
                self.notes.append(f"Common seeds were not tried: {error}")
            else:
                if seed.seed is not None:
                    self.notes.append(
                        f"The victim's random start is that of the seed {seed.seed}, which others "
                        "may have used as well."
                    )
                    return "common seed"
        return "own" if own_initialisation else "unknown"

    def matched(self, name: str) -> str:
        """Returns how many hidden units of a model match the victim's, in words."""
        layers = self.origins[name].layers
        units = sum(min(layer.n_a, layer.n_b) for layer in layers)
        return f"{sum(layer.n_matched for layer in layers)} of {units} hidden units match"
