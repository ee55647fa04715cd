"""Which transferability scores there are, found from the files that declare them."""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from modelgif.transferability import estimators
from modelgif.transferability.score import Needs, Score


def scores(*, needs: Needs | None = None) -> Mapping[str, Score]:
    """Returns the registered scores by name, in alphabetical order.

    A score is registered by the `SCORES` of its file in `modelgif.transferability.estimators`.

    Args:
        needs: what the scores need; None for all scores.

    Example:
        >>> from modelgif import transferability
        >>> transferability.scores()["knn"].title
        'nearest neighbours'
        >>> "leep" in transferability.scores(needs="features")
        False
    """
    return {n: score for n, score in _registered().items() if needs in (None, score.needs)}


@cache
def _registered() -> Mapping[str, Score]:
    found: dict[str, Score] = {}
    for module in pkgutil.iter_modules(estimators.__path__, f"{estimators.__name__}."):
        for score in import_module(module.name).SCORES:
            if score.name in found:
                raise ValueError(f"two transferability scores are called {score.name}: rename one.")
            found[score.name] = score
    return MappingProxyType(dict(sorted(found.items())))
