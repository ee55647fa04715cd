"""Every score against the golden values, scikit-learn and closed forms."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from modelgif import transferability as scores

CASES = ["synth_n600_d64_c10", "synth_n400_d48_c4_sep", "synth_n500_d32_c8_imb"]
saturates = pytest.mark.filterwarnings(
    "ignore::modelgif.transferability.SaturationWarning",
)


def load(golden: Path, case: str) -> tuple[dict[str, np.ndarray], dict]:
    folder = golden / "transferability"
    with np.load(folder / f"{case}.npz") as file:
        arrays = dict(file)
    return arrays, json.loads((folder / "golden.json").read_text())["cases"][case]["values"]


def clusters(n: int, d: int, c: int, *, spread: float = 1.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(c), rng.integers(0, c, n - c)])
    return rng.normal(size=(c, d))[y] + spread * rng.normal(size=(n, d)), y


@saturates
@pytest.mark.parametrize("case", CASES)
def test_golden_values(golden: Path, case: str):
    arrays, value = load(golden, case)
    x, y, p = arrays["X"], arrays["y"], arrays["source_probs"]
    assert scores.logme(x, y) == pytest.approx(value["logme_icml"], rel=1e-6)
    assert scores.sfda(x, y) == pytest.approx(value["sfda"], abs=1e-7)
    assert scores.sfda(x.astype(np.float32), y) == pytest.approx(
        value["sfda_float32_input"], abs=1e-7
    )
    assert scores.h_score(x, y) == pytest.approx(value["hscore_tllib"], rel=1e-6)
    assert scores.regularised_h_score(x, y) == pytest.approx(value["reg_hscore_tllib"], rel=1e-6)
    assert scores.transrate(x, y) == pytest.approx(value["transrate_tllib"], rel=1e-9)
    assert scores.parc(x, y, n_components=None) == pytest.approx(value["parc_nopca"], rel=1e-9)
    assert scores.leep(p, y) == pytest.approx(value["leep_tllib_log"], rel=1e-9)
    assert scores.leep(p, y, log=False) == pytest.approx(value["leep_sfda_nolog"], rel=1e-9)
    assert scores.nce(p, y) == pytest.approx(value["nce_tllib"], rel=1e-9)
    assert scores.etran_parts(x, y).classification == pytest.approx(value["etran_lda"], rel=1e-9)
    for covariance in ("spherical", "diagonal"):
        for n_components, name in ((None, "nopca"), (16, "pca16")):
            got = scores.gbc(x, y, covariance=covariance, n_components=n_components)
            assert got == pytest.approx(value[f"gbc_{covariance}_{name}"], rel=1e-9)


@saturates
@pytest.mark.parametrize("case", CASES)
def test_golden_nleep(golden: Path, case: str):
    arrays, value = load(golden, case)
    posterior, y = arrays["nleep_posterior_seed0"], arrays["y"]
    assert scores.nleep_from_posterior(posterior, y) == pytest.approx(
        value["nleep_from_posterior_seed0"], rel=1e-9
    )
    assert scores.nleep_from_posterior(posterior, y, log=True) == pytest.approx(
        value["nleep_log_from_posterior_seed0"], rel=1e-9, abs=1e-12
    )
    # The mixture is random, so the whole score is only known up to its spread over seeds.
    published = np.array(value["nleep_seed0_4"])
    assert abs(scores.nleep(arrays["X"], y) - published.mean()) < 4 * published.std() + 1e-9


def test_golden_ncti(golden: Path):
    arrays, value = load(golden, CASES[0])
    expected = value["ncti_parts[all_nuc,sfda,log_class_nuc]"]
    parts = scores.ncti_parts(arrays["X"], arrays["y"])
    assert parts == pytest.approx(expected, rel=1e-9)
    assert scores.ncti(arrays["X"], arrays["y"]) == pytest.approx(
        expected[0] + expected[1] - expected[2]
    )


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_ncti_matches_scikit_learn_on_both_sides_of_its_shrinkage(scale: float):
    x, y = clusters(200, 20, 5)
    x = x * scale
    pca = PCA(20).fit(x)
    reduced, shrinkage = pca.transform(x), math.exp(-float(pca.explained_variance_.sum()))
    model = (
        LinearDiscriminantAnalysis(solver="eigen", shrinkage=shrinkage)
        if shrinkage > 1e-10
        else LinearDiscriminantAnalysis(solver="svd")
    )
    space, posterior = model.fit_transform(reduced, y), model.predict_proba(reduced)
    parts = scores.ncti_parts(x, y)
    assert parts.geometry == pytest.approx(np.linalg.norm(space - space.mean(0), ord="nuc"))
    assert parts.separability == pytest.approx(posterior[np.arange(200), y].mean())
    nuclear = sum(np.linalg.norm(posterior[y == c], ord="nuc") for c in range(5))
    assert parts.variability == pytest.approx(math.log(nuclear))


def evidence(x: np.ndarray, target: np.ndarray) -> float:
    """The log marginal likelihood of one target, raised directly over log α and log β."""
    covariance = x @ x.T

    def negative(log_precisions: np.ndarray) -> float:
        alpha, beta = np.exp(log_precisions)
        gaussian = scipy.stats.multivariate_normal(
            cov=covariance / alpha + np.eye(len(x)) / beta, allow_singular=False
        )
        return -float(gaussian.logpdf(target))

    found = [
        scipy.optimize.minimize(
            negative, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10}
        ).fun
        for start in ((0.0, 0.0), (3.0, 3.0))
    ]
    return -min(found) / len(x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "d", "spread", "iterations", "exact"),
    # The last fits perfectly: its evidence is highest without noise, where no search arrives.
    [
        (60, 20, 1, 1000, 1e-7),
        (40, 40, 1, 1000, 1e-7),
        (30, 90, 3, 1000, 1e-7),
        (30, 90, 1, 60, 1e-5),
    ],
)
def test_logme_is_the_maximised_evidence(
    n: int, d: int, spread: float, iterations: int, exact: float
):
    x, y = clusters(n, d, 3, spread=spread)
    expected = np.mean([evidence(x, (y == c).astype(float)) for c in range(3)])
    converged = scores.logme(x, y, tolerance=1e-9, max_iterations=iterations, epsilon=0)
    assert converged == pytest.approx(expected, abs=exact)
    assert scores.logme(x, y) == pytest.approx(expected, abs=5e-3)


def fixed_point(x: np.ndarray, target: np.ndarray) -> float:
    """MacKay's fixed point with a dense solution of the regression in every step."""
    n, d = x.shape
    ratio = 1.0
    for _ in range(11):
        inverse = np.linalg.inv(ratio * np.eye(d) + x.T @ x)
        weights = inverse @ x.T @ target
        gamma = d - ratio * np.trace(inverse)
        norm, residual = weights @ weights, ((target - x @ weights) ** 2).sum()
        alpha, beta = gamma / (norm + 1e-5), (n - gamma) / (residual + 1e-5)
        if abs(alpha / beta - ratio) < 1e-2 * ratio:
            break
        ratio = alpha / beta
    _, determinant = np.linalg.slogdet(alpha * np.eye(d) + beta * x.T @ x)
    fit = beta * (residual + 1e-5) + alpha * (norm + 1e-5)
    return (d * np.log(alpha) + n * np.log(beta / (2 * np.pi)) - determinant - fit) / (2 * n)


@pytest.mark.parametrize(
    ("n", "d", "c", "dead"),
    [(30, 1, 2, 0), (30, 2, 5, 0), (40, 3, 7, 0), (90, 40, 8, 0), (50, 12, 4, 9), (200, 90, 3, 1)],
)
def test_logme_of_unusual_shapes(n: int, d: int, c: int, dead: int):
    x, y = clusters(n, d, c, spread=2.0)
    x[:, :dead] = 0
    x[: n // 3] = x[n // 3 : 2 * (n // 3)]
    expected = np.mean([fixed_point(x, (y == k).astype(float)) for k in range(c)])
    assert scores.logme(x, y) == pytest.approx(expected, rel=1e-9)


def test_sfda_with_d_above_n_matches_the_generalised_eigenvectors():
    # Small features are shrunk much, without which D > N fits every label.
    x, y = clusters(50, 80, 4, spread=5.0)
    x = 0.02 * x

    def posterior(x, shrinkage):
        means = np.stack([x[y == c].mean(0) for c in range(4)])
        within = np.cov((x - means[y]).T, bias=True)
        if shrinkage is None:
            v = w = within.sum(1)
            for _ in range(3):
                v = within @ w / np.linalg.norm(within @ w)
                w = within @ v / np.linalg.norm(within @ v)
            shrinkage = max(math.exp(-5 * w @ within @ v), 1e-10)

        def shrink(s):
            return (1 - shrinkage) * s + shrinkage * np.trace(s) / len(s) * np.eye(len(s))

        within = shrink(within)
        _, vectors = scipy.linalg.eigh(shrink(np.cov(x.T, bias=True)) - within, within)
        weights = means @ vectors @ vectors.T
        logits = x @ weights.T - (means * weights).sum(1) / 2 + np.log(np.bincount(y) / len(y))
        return scipy.special.softmax(logits, axis=1), means, shrinkage

    first, means, shrinkage = posterior(x, None)
    sure = scipy.special.softmax(first, axis=1)[np.arange(50), y][:, None]
    others = (means.sum(0) - means) / 3
    second, _, _ = posterior(sure * x + (1 - sure) * others[y], shrinkage)
    expected = second[np.arange(50), y].mean()
    assert 0.3 < expected < 1 - 1e-6
    assert scores.sfda(x, y) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("n", "d"), [(100, 10), (40, 60)])
def test_regularised_h_score_uses_the_ledoit_wolf_estimate(n: int, d: int):
    x, y = clusters(n, d, 4)
    model = LedoitWolf().fit(x)
    means = np.stack([x[y == c].mean(0) for c in range(4)])
    between = np.cov(means[y].T)
    expected = (1 - model.shrinkage_) * np.trace(np.linalg.solve(model.covariance_, between))
    assert scores.regularised_h_score(x, y) == pytest.approx(expected, rel=1e-9)


def test_h_score_matches_a_pseudo_inverse_where_channels_are_dead():
    x, y = clusters(80, 12, 3)
    x[:, [2, 7]] = 0.5
    means = np.stack([x[y == c].mean(0) for c in range(3)])
    expected = np.trace(np.linalg.pinv(np.cov(x.T), rcond=1e-10) @ np.cov(means[y].T))
    assert scores.h_score(x, y) == pytest.approx(expected, rel=1e-9)


def test_parc_with_exact_ties_is_a_rank_correlation_with_unlike_labels():
    x, y = clusters(60, 9, 5)
    standard = (x - x.mean(0)) / x.std(0)
    pairs = np.triu_indices(60, 1)
    distances = (1 - np.corrcoef(standard))[pairs]
    expected = np.asarray(scipy.stats.spearmanr(distances, (y[:, None] != y)[pairs]))[0]
    got = scores.parc(x, y, n_components=None, exact_ties=True)
    assert got == pytest.approx(100 * expected, rel=1e-9)


def test_parc_takes_scikit_learns_components_and_a_seeded_sample():
    x, y = clusters(80, 30, 4)
    reduced = PCA(6, svd_solver="full").fit_transform(x)
    assert scores.parc(x, y, n_components=6) == pytest.approx(
        scores.parc(reduced, y, n_components=None)
    )
    few = scores.parc(x, y, max_samples=40, seed=1)
    assert few == scores.parc(x, y, max_samples=40, seed=1)
    assert few != scores.parc(x, y, max_samples=40, seed=2)


def test_gbc_is_the_bhattacharyya_coefficient_of_densities():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 300), rng.normal(2, 2, 300)])[:, None]
    y = np.repeat([0, 1], 300)
    grid = np.linspace(-30, 30, 60_001)
    first, second = (
        scipy.stats.norm.pdf(grid, x[y == c].mean(), x[y == c].std()) for c in range(2)
    )
    expected = -2 * np.sqrt(first * second).sum() * (grid[1] - grid[0])
    for covariance in ("spherical", "diagonal"):
        got = scores.gbc(x, y, covariance=covariance, n_components=None)
        assert got == pytest.approx(expected, rel=1e-6)


def test_leep_and_nce_of_a_hand_made_table():
    # p(y | z): source class 0 is always target 0; source class 1 is either, with equal shares.
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    y = np.array([0, 0, 0, 1])
    with pytest.warns(scores.SmallClassWarning):
        assert scores.leep(probabilities, y) == pytest.approx(math.log(0.5) / 2)
    with pytest.warns(scores.SmallClassWarning):
        assert scores.nce(probabilities, y) == pytest.approx(math.log(0.5) / 2)


def test_a_source_class_nobody_is_given_changes_nothing():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(4), 50), rng.integers(0, 3, 50)
    wider = np.insert(p, 2, 0.0, axis=1)
    assert scores.leep(wider, y) == pytest.approx(scores.leep(p, y))
    assert scores.nce(wider, y) == pytest.approx(scores.nce(p, y))


def test_transrate_of_one_dimension_is_a_closed_form():
    x, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    # ½ log(1 + Σx²/(N ε)) with Σx² = 10, and the same mean square in both classes
    assert scores.transrate(x, y, epsilon=0.5) == pytest.approx(0, abs=1e-12)
    together = scores.transrate(x, np.array([0, 1, 0, 1]), epsilon=0.5)
    assert together == pytest.approx(0.5 * math.log(6) - 0.25 * math.log(6) * 2, abs=1e-12)
    apart = scores.transrate(x, np.array([0, 1, 1, 0]), epsilon=0.5)
    expected = 0.5 * math.log(6) - 0.25 * (math.log(9) + math.log(3))
    assert apart == pytest.approx(expected, rel=1e-9)


def test_etran_energy_and_fishers_discriminant():
    x, y = clusters(400, 6, 3, spread=2.0)
    parts = scores.etran_parts(x, y, share=0.01, covariance="within")
    energy = np.sort(scipy.special.logsumexp(x, axis=1))[:4].mean()
    assert parts.energy == pytest.approx(energy)
    posterior = LinearDiscriminantAnalysis().fit(x, y).predict_proba(x)
    # scikit-learn divides by N − C and does not shrink.
    assert parts.classification == pytest.approx(posterior[np.arange(400), y].mean(), abs=2e-3)
    both = scores.etran(x, y, share=0.01, covariance="within")
    assert both == pytest.approx(sum(parts))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_knn_matches_scikit_learn_leave_one_out(metric):
    x, y = clusters(70, 5, 3, spread=1.5)
    correct = 0
    for i in range(70):
        rest = np.arange(70) != i
        model = KNeighborsClassifier(1, metric=metric, algorithm="brute").fit(x[rest], y[rest])
        correct += model.predict(x[i : i + 1])[0] == y[i]
    assert scores.knn(x, y, n_neighbours=1, metric=metric) == correct / 70


def test_knn_gives_a_tied_vote_to_the_nearer_class():
    x = np.array([[0.0], [1.0], [-3.0], [4.0], [-5.0], [100.0]])
    y = np.array([0, 0, 1, 1, 1, 0])
    # Sample 0 sees 1 (class 0), -3 (class 1): a tie, and 1 is nearer.
    votes = scores.knn(x, y, n_neighbours=2, metric="euclidean")
    nearest = scores.knn(x, y, n_neighbours=1, metric="euclidean")
    assert votes == nearest


def test_linear_probe_finds_what_is_there_and_no_more():
    x, y = clusters(120, 8, 3, spread=1.5)
    assert scores.linear_probe(x, y) > 0.7
    shuffled = np.random.default_rng(0).permutation(y)
    assert scores.linear_probe(x, shuffled) < 0.55
    assert scores.linear_probe(x, shuffled, seed=0) == scores.linear_probe(x, shuffled, seed=0)


def test_scaled_sum():
    parts = [[0.0, 5.0, 7.0], [10.0, 1.0, 7.0], [5.0, 3.0, 7.0]]
    assert scores.scaled_sum(parts, signs=(1, -1, 1)) == pytest.approx([-1, 1, 0])
    with pytest.raises(ValueError, match="one sign per part, 3"):
        scores.scaled_sum(parts, signs=(1, -1))
    with pytest.raises(ValueError, match="finite table"):
        scores.scaled_sum([[float("nan")]])


def test_torch_default_dtype_does_not_matter():
    x, y = clusters(30, 4, 3)
    assert scores.logme(torch.tensor(x), torch.tensor(y)) == scores.logme(x, y)
