"""Which candidates a score is the mean over: the first of a pool, or the best by a ranking."""

from collections.abc import Sequence

import numpy as np
import torch

from intellectual_property_protection.evaluation_config import Protocol, Ranking
from intellectual_property_protection.scoring.roles import Roles
from intellectual_property_protection.scoring.score import Score
from modelgif.references.selection import rank_by_gap, rank_by_independents, rank_by_surrogates


def orders(
    distances: np.ndarray, roles: Roles, ranking: Ranking | None, protocol: Protocol = "split"
) -> list[np.ndarray]:
    """Returns the candidates from best to worst, ``[N]``, for every fold or once for all.

    Prefixes are the choices of fewer references. In the protocol `split`, the independents of a
    fold do not choose the references that they are tested with. The suspects never choose.

    Args:
        distances: of every model to the victim at every candidate, ``[M, N]``.
        roles: the models.
        ranking: None leaves candidates as they were drawn.
        protocol: `paper` lets all independents choose.

    Raises:
        ValueError: for a ranking by surrogates of a zoo that has none.
    """
    if ranking is None:
        return [np.arange(distances.shape[1])]
    near, choosing = roles.surrogates, np.flatnonzero(roles.folds >= 0)
    if ranking != "independents" and not near:
        raise ValueError(
            f"the ranking {ranking} needs models of role surrogate, and the zoo has none."
        )
    if ranking == "surrogates":
        return [_ranked(ranking, distances[[]], distances[near])]
    if protocol == "paper":
        return [_ranked(ranking, distances[choosing], distances[near])]
    return [
        _ranked(ranking, distances[choosing[roles.folds[choosing] != fold]], distances[near])
        for fold in range(roles.folds.max() + 1)
    ]


def mean_over(
    distances: np.ndarray, roles: Roles, chosen: Sequence[np.ndarray], count: int
) -> Score:
    """Returns the mean of the `count` best candidates as a score.

    Args:
        distances: ``[M, N]``.
        roles: the models.
        chosen: from `orders`.
        count: how many, or fewer where there are fewer candidates.
    """
    each = [distances[:, order[:count]] for order in chosen]
    values = np.stack([contributions.mean(1) for contributions in each])
    return Score(values, roles.folds, each[0] if len(each) == 1 else None)


def resampled(
    distances: np.ndarray,
    roles: Roles,
    chosen: Sequence[np.ndarray],
    count: int,
    *,
    n_bootstrap: int,
    generator: np.random.Generator,
) -> Score:
    """Returns `mean_over` of references drawn again with replacement, `n_bootstrap` times."""
    n = min(count, distances.shape[1])
    weights = generator.multinomial(n, np.full(n, 1 / n), size=n_bootstrap) / n
    values = np.stack([distances[:, order[:n]] @ weights.T for order in chosen])
    return Score(values, roles.folds)


def _ranked(ranking: Ranking, far: np.ndarray, near: np.ndarray) -> np.ndarray:
    far_, near_ = torch.from_numpy(far), torch.from_numpy(near)
    if ranking == "independents":
        return rank_by_independents(far_).numpy()
    if ranking == "surrogates":
        return rank_by_surrogates(near_).numpy()
    return rank_by_gap(far_, near_).numpy()
