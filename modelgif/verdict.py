"""Verdicts: was a suspect derived from the victim?"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Decision = Literal["derived", "independent", "undecided"]


def conformal_p_value(distance: float, independents: ArrayLike) -> float:
    """Returns the share of independent models, the suspect counted in, that are as near as it.

    If the suspect is exchangeable with the independents — trained as they were, without the
    victim — the chance of a p-value at or below any level is at most that level.

    Args:
        distance: of the suspect from the victim.
        independents: distances of independent models from the victim, ``[n]``.

    Raises:
        ValueError: when a distance is not finite or there is no independent model.

    Source: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, section 2.2.
    """
    known = np.asarray(independents, dtype=float)
    if known.ndim != 1 or not len(known) or not np.isfinite(known).all():
        raise ValueError(f"expected finite distances of independent models, got {independents!r}.")
    if not np.isfinite(distance):
        raise ValueError(f"the suspect's distance must be finite, got {distance}.")
    return float((1 + np.count_nonzero(known <= distance)) / (len(known) + 1))


def decide(p_value: float, n_independents: int, *, level: float = 0.05) -> Decision:
    """Returns the decision that a p-value supports at `level`.

    - ``derived`` when the p-value is at most `level`, which happens to at most that share of
      independent models
    - ``independent`` when the suspect is farther than half of the independents
    - ``undecided`` otherwise, or when `n_independents` are so few that no distance could reach the
      level, since no p-value is below ``1/(n + 1)``

    Raises:
        ValueError: for a level outside (0, 0.5) or a p-value that n models cannot give.
    """
    if not 0 < level < 0.5:
        raise ValueError(f"level must lie between 0 and 0.5, got {level}.")
    smallest = 1 / (n_independents + 1)
    if not smallest - 1e-12 <= p_value <= 1:
        raise ValueError(
            f"the p-value of {n_independents} independents lies in [{smallest:.4g}, 1], "
            f"got {p_value}."
        )
    if smallest > level:
        return "undecided"
    if p_value <= level:
        return "derived"
    return "independent" if p_value > 0.5 else "undecided"
