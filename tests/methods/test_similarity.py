"""CKA, DDS and RSA, which compare how two models arrange the references."""

from typing import Any

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from sklearn.metrics.pairwise import cosine_similarity, laplacian_kernel
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from modelgif.methods import cka, dds, rsa

N = 20


def features(seed: int, size: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 + torch.randn(N, size, generator=generator, dtype=torch.float64)


def described(module: Any, values: Tensor, **options: Any) -> Tensor:
    return module.describe(
        lambda x: values[x[:, 0].long()], torch.arange(len(values))[:, None].float(), **options
    )


def between(module: Any, a: Tensor, b: Tensor, **options: Any) -> float:
    return module.compare(described(module, a, **options), described(module, b, **options))


def rotation(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


def test_linear_cka_is_the_paper_s_formula_in_features() -> None:
    a, b = features(0), features(1, 12)
    x, y = a - a.mean(0), b - b.mean(0)
    expected = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert between(cka, a, b) == pytest.approx(1 - float(expected), rel=1e-10)


def hsic_0(k: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimate as a sum over all quadruples of unlike samples, slow and plain."""
    n = len(k)
    total = 0.0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
    return total / (n * (n - 1) * (n - 2) * (n - 3))


def test_unbiased_cka_equals_the_sum_over_quadruples() -> None:
    a, b = features(0)[:9], features(1)[:9]
    k, other = (np.asarray(v @ v.T) for v in (a, b))
    expected = hsic_0(k, other) / np.sqrt(hsic_0(k, k) * hsic_0(other, other))
    assert between(cka, a, b, unbiased=True) == pytest.approx(1 - expected, rel=1e-10)


def test_independent_features_are_at_1_without_bias_only() -> None:
    plain, unbiased = [], []
    for seed in range(40):
        a, b = features(seed, 60), features(seed + 100, 60)
        plain.append(between(cka, a, b))
        unbiased.append(between(cka, a, b, unbiased=True))
    assert np.mean(plain) < 0.35
    assert abs(np.mean(unbiased) - 1) < 4 * np.std(unbiased) / np.sqrt(40)


def test_orthogonal_features_are_at_1_and_a_shared_half_at_a_known_distance() -> None:
    # Three centred, orthogonal directions of equal length.
    basis = torch.tensor(
        [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64
    ).repeat(5, 1)
    assert between(cka, basis[:, :1], basis[:, 1:2]) == pytest.approx(1, abs=1e-12)
    # One shared direction of two: the cosine is 1/√2 when one model has it alone.
    assert between(cka, basis[:, :1], basis[:, :2]) == pytest.approx(1 - 0.5**0.5, abs=1e-12)
    assert between(cka, basis[:, :2], basis[:, 1:]) == pytest.approx(0.5, abs=1e-12)


def test_gaussian_cka_equals_a_plain_loop() -> None:
    a, b = features(0), features(1)
    matrices = []
    for values in (a, b):
        square = scipy.spatial.distance.cdist(values, values, "sqeuclidean")
        kernel = np.exp(-square / (2 * 0.8**2 * np.median(square)))
        centring = np.eye(N) - 1 / N
        matrices.append(centring @ kernel @ centring)
    k, other = matrices
    expected = np.trace(k @ other) / np.sqrt(np.trace(k @ k) * np.trace(other @ other))
    assert between(cka, a, b, kernel="gaussian") == pytest.approx(1 - expected, rel=1e-10)


@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
def test_cka_ignores_rotation_scale_and_shift_but_not_stretching(kernel: str) -> None:
    a = features(0)
    moved = 5 * a @ rotation(7) - 2
    assert between(cka, a, moved, kernel=kernel) == pytest.approx(0, abs=1e-12)
    stretched = a * torch.tensor([9.0, 1, 1, 1, 1, 1, 1])
    assert between(cka, a, stretched, kernel=kernel) > 0.05


def test_half_of_the_features_alike_have_a_median_distance_of_0() -> None:
    a = torch.zeros(N, 2, dtype=torch.float64)
    a[:4] = features(0, 2)[:4]
    found = described(cka, a, kernel="gaussian")
    # 16 alike and 4 alone, whatever the others' values.
    a[:4] *= 7
    assert torch.equal(found, described(cka, a, kernel="gaussian"))
    assert found.isfinite().all()
    assert found.abs().max() > 0


def dds_matrix(values: Tensor, similarity: str, *, standardise: bool) -> np.ndarray:
    x = np.asarray(values)
    x = StandardScaler().fit_transform(x) if standardise else x
    if similarity == "cosine":
        return 1 - cosine_similarity(x)
    if similarity == "pearson":
        return 1 - np.corrcoef(x)
    if similarity == "laplacian":
        return laplacian_kernel(x)
    if similarity == "linear":
        return x @ x.T
    square = scipy.spatial.distance.cdist(x, x, "sqeuclidean")
    return np.exp(-square / (2 * 0.5**2 * np.median(square)))


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("similarity", ["cosine", "pearson", "laplacian", "gaussian", "linear"])
def test_dds_equals_the_plain_sum(similarity: Any, standardise: bool) -> None:
    a = features(0)[:9] * torch.tensor([9.0, 1, 1, 1, 1, 1, 0.1])
    b = features(1)[:9]
    k, other = (dds_matrix(v, similarity, standardise=standardise) for v in (a, b))
    options: dict[str, Any] = {"similarity": similarity, "standardise": standardise}
    expected = hsic_0(k, other) / np.sqrt(hsic_0(k, k) * hsic_0(other, other))
    assert between(dds, a, b, **options) == pytest.approx(1 - expected, rel=1e-9)
    centring = np.eye(9) - 1 / 9
    k, other = (centring @ matrix @ centring for matrix in (k, other))
    expected = (k * other).sum() / np.sqrt((k * k).sum() * (other * other).sum())
    assert between(dds, a, b, unbiased=False, **options) == pytest.approx(1 - expected, rel=1e-9)


def test_linear_dds_of_unscaled_features_is_cka() -> None:
    a, b = features(0), features(1)
    for unbiased in (False, True):
        assert between(
            dds, a, b, similarity="linear", standardise=False, unbiased=unbiased
        ) == pytest.approx(between(cka, a, b, unbiased=unbiased), rel=1e-10)


def test_dds_ignores_the_unit_of_each_dimension() -> None:
    a = features(0)
    stretched = a * torch.tensor([9.0, 1, 3, 1, 0.1, 1, 1]) - 4
    stretched = torch.cat([stretched, torch.full((N, 1), 0.1, dtype=torch.float64)], 1)
    assert between(dds, a, stretched) == pytest.approx(0, abs=1e-12)
    assert between(dds, a, stretched, standardise=False) > 0.05


@pytest.mark.parametrize("size", [2, 7])
def test_rsa_equals_scipy_s(size: int) -> None:
    # Of two features, dissimilarities are 0 or 2, and nearly all are tied.
    a, b = features(0, size), features(1, size)
    first, second = (
        scipy.spatial.distance.pdist(np.asarray(v), "correlation").round(9) for v in (a, b)
    )
    expected = 1 - scipy.stats.spearmanr(first, second).statistic
    assert between(rsa, a, b) == pytest.approx(expected, rel=1e-9)


def test_rsa_ignores_what_pearson_ignores_in_each_reference() -> None:
    a = features(0)
    scale = torch.rand(N, 1, generator=torch.Generator().manual_seed(5)) + 0.5
    assert between(rsa, a, 3 * scale * a - scale) == pytest.approx(0, abs=1e-12)
    # Independent features order pairs independently.
    assert between(rsa, a, features(1)) == pytest.approx(1, abs=0.3)


def test_a_reference_that_excites_nothing_is_unlike_all_but_its_kind() -> None:
    a = features(0)
    a[[2, 5]] = torch.tensor([[0.1], [0.7]], dtype=torch.float64)
    ranks = torch.zeros(N, N, dtype=torch.float64)
    first, second = torch.triu_indices(N, N, offset=1)
    ranks[first, second] = described(rsa, a)
    assert ranks[2, 5] == ranks[first, second].min()
    others = ranks[2, 6:]
    assert (others == others[0]).all()


@pytest.mark.parametrize(("module", "least"), [(cka, 4), (dds, 4), (rsa, 3)])
def test_too_few_references_are_refused(module: Any, least: int) -> None:
    with pytest.raises(ValueError, match=f"at least {least} references"):
        described(module, features(0)[: least - 1])
    assert described(module, features(0)[:least]).isfinite().all()


def test_bad_options_are_refused() -> None:
    a = features(0)
    with pytest.raises(ValueError, match="a kernel out of linear, gaussian"):
        described(cka, a, kernel="cosine")
    with pytest.raises(ValueError, match="a positive bandwidth"):
        described(cka, a, kernel="gaussian", bandwidth=0.0)
    with pytest.raises(ValueError, match="similarity must be one of cosine, pearson, laplacian"):
        described(dds, a, similarity="rbf")
