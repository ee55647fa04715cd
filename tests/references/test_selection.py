import collections

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from modelgif.references.selection import (
    cross_folds,
    left_out_distances,
    rank_by_gap,
    rank_by_independents,
    rank_by_surrogates,
)
from modelgif.verdict import conformal_p_value


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def independents() -> Tensor:
    return torch.rand(7, 50, generator=seeded())


@pytest.fixture
def surrogates() -> Tensor:
    return torch.rand(4, 50, generator=seeded(1))


def descending(merit: list[float]) -> list[int]:
    return sorted(range(len(merit)), key=lambda j: -merit[j])


def test_rankings_sort_by_the_means(independents: Tensor, surrogates: Tensor) -> None:
    far = [float(np.mean(column)) for column in independents.double().T.numpy()]
    near = [float(np.mean(column)) for column in surrogates.double().T.numpy()]
    gap = [f - n for f, n in zip(far, near, strict=True)]
    assert rank_by_independents(independents).tolist() == descending(far)
    assert rank_by_surrogates(surrogates).tolist() == descending([-n for n in near])
    assert rank_by_gap(independents, surrogates).tolist() == descending(gap)


def test_standardised_gap_is_the_t_statistic_of_two_samples(
    independents: Tensor, surrogates: Tensor
) -> None:
    t = scipy.stats.ttest_ind(independents.double().numpy(), surrogates.double().numpy()).statistic
    ranking = rank_by_gap(independents, surrogates, standardised=True).tolist()
    # With the same numbers of models at each candidate, t is d' times a constant.
    assert ranking == descending(t.tolist())
    assert ranking != rank_by_gap(independents, surrogates).tolist()


def test_equal_candidates_keep_their_order() -> None:
    distances = torch.tensor([[0.1, 0.5, 0.1, 0.5, 0.1]]).repeat(3, 60)
    order = rank_by_independents(distances).tolist()
    assert order == sorted(range(300), key=lambda j: (-distances[0, j].item(), j))
    assert rank_by_surrogates(distances)[0] == 0
    assert rank_by_gap(distances, distances).tolist() == list(range(300))
    assert rank_by_gap(distances, distances, standardised=True).tolist() == list(range(300))


def test_gaps_without_deviation_are_the_widest() -> None:
    independents = torch.tensor([[0.9, 0.5, 0.2, 0.3], [0.7, 0.5, 0.2, 0.3]])
    surrogates = torch.tensor([[0.1, 0.4, 0.3, 0.3], [0.2, 0.4, 0.3, 0.3]])
    assert rank_by_gap(independents, surrogates, standardised=True).tolist() == [1, 0, 3, 2]


def test_one_surrogate_has_no_deviation_of_its_own() -> None:
    independents, surrogates = torch.rand(2, 9, generator=seeded()), torch.zeros(1, 9)
    ranking = rank_by_gap(independents, surrogates, standardised=True).tolist()
    d_prime = independents.double().mean(0) / independents.double().std(0)
    assert ranking == descending(d_prime.tolist())
    with pytest.raises(ValueError, match="two models of one kind, got one of each"):
        rank_by_gap(independents[:1], surrogates, standardised=True)


@pytest.mark.parametrize(
    ("distances", "message"),
    [
        (torch.zeros(0, 3), r"\[models, candidates\], got \[0, 3\]\."),
        (torch.zeros(3), r"got \[3\]\."),
        (torch.tensor([[0.1, float("nan")]]), r"got \[1, 2\] with NaN or infinity"),
    ],
)
def test_refused_distances(distances: Tensor, message: str) -> None:
    fine = torch.zeros(2, 2)
    for rank in (
        rank_by_independents,
        rank_by_surrogates,
        lambda d: rank_by_gap(d, fine),
        lambda d: rank_by_gap(fine, d),
        lambda d: left_out_distances(d, 1),
        lambda d: left_out_distances(fine, 1, surrogates=d),
    ):
        with pytest.raises(ValueError, match=message):
            rank(distances)


def test_unlike_candidates_are_refused() -> None:
    for use in (rank_by_gap, lambda d, s: left_out_distances(d, 1, surrogates=s)):
        with pytest.raises(ValueError, match="at 4 and 5 candidates: expected the same ones"):
            use(torch.zeros(2, 4), torch.zeros(2, 5))


@pytest.mark.parametrize("by_gap", [False, True])
def test_each_model_is_left_out_of_its_own_choice(
    independents: Tensor, surrogates: Tensor, by_gap: bool
) -> None:
    options = {"surrogates": surrogates} if by_gap else {}
    found = left_out_distances(independents, 12, **options)
    for i, row in enumerate(independents.double()):
        others = torch.cat([independents[:i], independents[i + 1 :]])
        ranking = rank_by_gap(others, surrogates) if by_gap else rank_by_independents(others)
        assert found[i].item() == pytest.approx(row[ranking[:12]].mean().item(), abs=1e-12)


def test_left_out_distances_give_every_rank_once(independents: Tensor) -> None:
    # Whichever of seven independents is called the suspect, its p-value is exact.
    distances = left_out_distances(independents, 5).tolist()
    p_values = [
        conformal_p_value(distances[i], distances[:i] + distances[i + 1 :]) for i in range(7)
    ]
    assert sorted(p_values) == pytest.approx([k / 7 for k in range(1, 8)])


def test_choosing_with_the_models_tested_leaks_and_leaving_out_does_not() -> None:
    # Pure noise: no choice of references can make independents farther than a new model is.
    leaked, left_out = [], []
    generator = seeded(2)
    for _ in range(60):
        models = torch.rand(9, 200, generator=generator)
        others, suspect = models[:-1], models[-1]
        leaky = rank_by_independents(others)[:10]
        leaked.append(others[:, leaky].mean() - suspect[leaky].mean())
        distances = left_out_distances(models, 10)
        left_out.append(distances[:-1].mean() - distances[-1])
    assert np.mean(leaked) > 0.1
    error = np.std(left_out) / np.sqrt(60)
    assert abs(np.mean(left_out)) < 3 * error < 0.05


@pytest.mark.parametrize(("n", "count"), [(1, 1), (3, 0), (3, 5)])
def test_refused_counts(n: int, count: int) -> None:
    with pytest.raises(ValueError, match=rf"count in 1\.\.4 .*, got {n} models and count {count}"):
        left_out_distances(torch.zeros(n, 4), count)


@pytest.mark.parametrize(("n", "k"), [(2, 2), (10, 3), (24, 5), (31, 31)])
def test_folds_are_a_partition_in_even_parts(n: int, k: int) -> None:
    folds = cross_folds(n, k, seeded())
    assert len(folds) == k
    assert sorted(torch.cat(folds).tolist()) == list(range(n))
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert all(fold.tolist() == sorted(fold.tolist()) for fold in folds)
    assert all(fold.dtype == torch.int64 for fold in folds)


def test_folds_have_even_shares_of_each_group() -> None:
    groups = [*"aaaaaaabbbbbbbbbbbcccc", *"d"]
    for seed in range(20):
        folds = cross_folds(len(groups), 4, seeded(seed), groups)
        sizes = [len(fold) for fold in folds]
        assert max(sizes) - min(sizes) <= 1
        for group in "abcd":
            shares = [sum(groups[i] == group for i in fold) for fold in folds]
            assert max(shares) - min(shares) <= 1


def test_folds_are_random_and_repeatable() -> None:
    groups = list("aabb")
    seen = collections.Counter(
        tuple(map(tuple, (fold.tolist() for fold in cross_folds(4, 2, seeded(s), groups))))
        for s in range(400)
    )
    # One of each group in each fold: four ways, equally likely.
    assert len(seen) == 4
    assert min(seen.values()) > 70
    first, again = (cross_folds(40, 5, seeded(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_refused_folds() -> None:
    for k in (1, 6):
        with pytest.raises(ValueError, match=rf"must lie in 2\.\.5 \(the models\), got {k}"):
            cross_folds(5, k, seeded())
    with pytest.raises(ValueError, match="the group of each of 5 models, got 4"):
        cross_folds(5, 2, seeded(), list("aabb"))
