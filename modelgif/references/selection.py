"""Which references tell derived models from independent ones: rankings from measured distances.

Models that rank references must not be among those that the choice is then tested on: a distance at
references at which a model happened to be far is far. `cross_folds` parts models so that each is
tested with the references that others ranked, and `left_out_distances` leaves out one at a time.
Rankings are total: equal candidates keep their order.
"""

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor


def rank_by_independents(distances: Tensor) -> Tensor:
    """Returns the candidates ``[N]``, first those at which independent models are farthest.

    Args:
        distances: of independent models from the victim at each candidate, ``[I, N]``.

    Raises:
        ValueError: for a matrix without models, or distances that are not finite.

    Source: the criterion of ModelGiF's own experiments: the mean over independent models.
    """
    return _greatest_first(_checked(distances, "independent models").mean(0))


def rank_by_surrogates(distances: Tensor) -> Tensor:
    """Returns the candidates ``[N]``, first those at which surrogates are nearest on average.

    Args:
        distances: of models derived from the victim on purpose, ``[S, N]``.

    Raises:
        ValueError: as `rank_by_independents`.
    """
    return _greatest_first(-_checked(distances, "surrogates").mean(0))


def rank_by_gap(independents: Tensor, surrogates: Tensor, *, standardised: bool = False) -> Tensor:
    """Returns the candidates ``[N]``, first those with the widest gap between the two kinds.

    The gap is the independents' mean less the surrogates'. Standardised it is divided by the
    pooled standard deviation of a model at the candidate (the d' of detection theory), so that a
    gap counts for more where models of one kind agree; without any deviation, a gap of either sign
    is the widest of its sign.

    Args:
        independents: distances at each candidate, ``[I, N]``.
        surrogates: distances of surrogates at the same candidates, ``[S, N]``.
        standardised: whether to divide by the deviation, for which ``I + S`` is at least 3.

    Raises:
        ValueError: as `rank_by_independents`, if the candidates do not match, or for too few
            models.
    """
    far, near = _checked(independents, "independent models"), _checked(surrogates, "surrogates")
    if far.shape[1] != near.shape[1]:
        raise ValueError(
            f"independent models and surrogates were compared at {far.shape[1]} and "
            f"{near.shape[1]} candidates: expected the same ones."
        )
    gap = far.mean(0) - near.mean(0)
    if standardised:
        freedom = len(far) + len(near) - 2
        if freedom < 1:
            raise ValueError("a standard deviation needs two models of one kind, got one of each.")
        residuals = torch.cat([far - far.mean(0), near - near.mean(0)])
        deviation = (residuals.square().sum(0) / freedom).sqrt()
        gap = torch.where(gap == 0, gap, gap / deviation)
    return _greatest_first(gap)


def left_out_distances(
    distances: Tensor, count: int, *, surrogates: Tensor | None = None
) -> Tensor:
    """Returns each model's mean distance at the references that all others rank best, ``[M]``.

    With independent models and one suspect as the rows, `modelgif.verdict.conformal_p_value` of
    the suspect's number among theirs is exact: every row is treated alike, so a suspect that is one
    more independent model has any rank with the same chance. No model is kept back.

    Args:
        distances: from the victim at each candidate, ``[M, N]``, at least two models.
        count: references of each mean, 1 to N.
        surrogates: distances of surrogates, ``[S, N]``: then candidates are ranked by gap; by
            default, by the distance of the others.

    Raises:
        ValueError: as `rank_by_gap`, for a single model or for a `count` out of range.
    """
    everyone = _checked(distances, "models")
    n_models, n_candidates = everyone.shape
    if n_models < 2 or not 1 <= count <= n_candidates:
        raise ValueError(
            f"expected at least 2 models and a count in 1..{n_candidates} (the candidates), "
            f"got {n_models} models and count {count}."
        )
    merit = (everyone.sum(0) - everyone) / (n_models - 1)
    if surrogates is not None:
        near = _checked(surrogates, "surrogates")
        if near.shape[1] != n_candidates:
            raise ValueError(
                f"models and surrogates were compared at {n_candidates} and {near.shape[1]} "
                "candidates: expected the same ones."
            )
        merit = merit - near.mean(0)
    return everyone.gather(1, _greatest_first(merit)[:, :count]).mean(1)


def cross_folds(
    n: int, k: int, generator: torch.Generator, groups: Sequence[Hashable] | None = None
) -> list[Tensor]:
    """Returns a random partition of 0 .. n-1 into `k` folds, each in ascending order.

    Sizes of folds differ by at most one, and so do the numbers of each group in them.

    Args:
        n: number of models.
        k: number of folds, 2 to `n`.
        generator: CPU generator of the partition.
        groups: the group of each model, such as its architecture; by default all are one.

    Raises:
        ValueError: for a `k` out of range, or groups that do not fit `n`.
    """
    if not 2 <= k <= n:
        raise ValueError(f"the number of folds must lie in 2..{n} (the models), got {k}.")
    if groups is not None and len(groups) != n:
        raise ValueError(f"expected the group of each of {n} models, got {len(groups)}.")
    group_of = dict.fromkeys(range(n)) if groups is None else dict(enumerate(groups))
    shuffled = torch.randperm(n, generator=generator).tolist()
    rank = {group: i for i, group in enumerate(dict.fromkeys(group_of.values()))}
    # Dealt out like cards, group after group: a group's share of each fold is even, and so is all.
    dealt = torch.tensor(sorted(shuffled, key=lambda i: rank[group_of[i]]))
    return [dealt[fold::k].sort().values for fold in range(k)]


def _greatest_first(merit: Tensor) -> Tensor:
    return merit.argsort(dim=-1, descending=True, stable=True)


def _checked(distances: Tensor, what: str) -> Tensor:
    if distances.ndim != 2 or 0 in distances.shape or not bool(distances.isfinite().all()):
        raise ValueError(
            f"expected finite distances of {what} at each candidate, [models, candidates], "
            f"got {list(distances.shape)}"
            + (" with NaN or infinity." if distances.numel() and distances.ndim == 2 else ".")
        )
    return distances.double()
