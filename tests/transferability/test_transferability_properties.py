"""What every registered score declares, and what is asked of all.

A score is tested by being registered; `SCORES` needs no entry for a new one.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from modelgif import transferability as scores

SCORES = {
    **scores.scores(),
    # Options that change what holds.
    "gbc_diagonal": replace(
        scores.scores()["gbc"],
        compute=partial(scores.gbc, covariance="diagonal", n_components=None),
        invariances=frozenset({"class names", "order"}),
    ),
    "nleep_of_six": replace(
        scores.scores()["nleep"], compute=partial(scores.nleep, n_components=6)
    ),
    "parc_exact": replace(
        scores.scores()["parc"],
        compute=partial(scores.parc, n_components=None, exact_ties=True),
        invariances=frozenset({"class names", "order", "scale"}),
    ),
}
OF_FEATURES = [name for name, score in SCORES.items() if score.needs == "features"]
OF_PROBABILITIES = [name for name, score in SCORES.items() if score.needs == "probabilities"]

each = pytest.mark.parametrize("name", SCORES)
each_of_features = pytest.mark.parametrize("name", OF_FEATURES)


def invariant_to(what: str) -> pytest.MarkDecorator:
    """Every score that declares the invariance."""
    declared = [name for name, score in SCORES.items() if what in score.invariances]
    assert declared
    return pytest.mark.parametrize("name", declared)


def data(name: str) -> tuple[Callable[..., float], np.ndarray, np.ndarray]:
    """An imbalanced sample of three classes of 60, 25 and 10: features, or probabilities."""
    rng = np.random.default_rng(3)
    y = rng.permutation(np.repeat([0, 1, 2], [60, 25, 10]))
    x = 0.7 * rng.normal(size=(3, 12))[y] + rng.normal(size=(95, 12)) * rng.uniform(0.5, 2, 12)
    if SCORES[name].needs == "probabilities":
        x = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    return SCORES[name].compute, x, y


@invariant_to("class names")
def test_names_of_classes_do_not_matter(name: str):
    score, x, y = data(name)
    renamed = np.array([10**12, -7, 40])[y]
    assert score(x, renamed) == pytest.approx(score(x, y), rel=1e-9)
    assert score(x, renamed.tolist()) == pytest.approx(score(x, y), rel=1e-9)


@invariant_to("order")
def test_order_of_samples_does_not_matter(name: str):
    score, x, y = data(name)
    order = np.random.default_rng(0).permutation(len(y))
    assert score(x[order], y[order]) == pytest.approx(score(x, y), rel=1e-9)


@invariant_to("rotation")
def test_rotations_do_not_matter(name: str):
    score, x, y = data(name)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))
    assert score(x @ rotation, y) == pytest.approx(score(x, y), rel=1e-7)


def test_rotations_hardly_matter_to_sfda():
    # It estimates one eigenvalue by three power iterations, which no rotation leaves alone.
    score, x, y = data("sfda")
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))
    assert score(x @ rotation, y) == pytest.approx(score(x, y), rel=1e-3)


@invariant_to("scale")
@pytest.mark.parametrize("scale", [1e-3, 7.0])
def test_the_scale_does_not_matter(name: str, scale: float):
    score, x, y = data(name)
    assert score(scale * x, y) == pytest.approx(score(x, y), rel=1e-7)


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if score.is_seeded])
def test_a_seed_decides_all_draws(name: str):
    score, x, y = data(name)
    assert score(x, y, seed=4) == score(x, y, seed=4)


@each
def test_tensors_and_arrays_give_one_result_and_stay_as_they_were(name: str):
    score, x, y = data(name)
    tensor, labels = torch.tensor(x, requires_grad=True), torch.tensor(y, dtype=torch.int32)
    frozen, frozen_labels = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    assert score(tensor, labels) == score(x, y)
    assert isinstance(score(x, y), float)
    np.testing.assert_array_equal(x, frozen)
    np.testing.assert_array_equal(tensor.detach().numpy(), frozen)
    np.testing.assert_array_equal(labels.numpy(), frozen_labels)


@each_of_features
def test_a_clearer_signal_scores_higher(name: str):
    score, x, y = data(name)
    clearer = x + 2 * np.stack([x[y == c].mean(0) for c in range(3)])[y]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scores.SaturationWarning)
        assert score(clearer, y) > score(x, y)


@pytest.mark.cuda
@each
def test_cuda_gives_the_result_of_the_cpu(name: str):
    score, x, y = data(name)
    assert score(torch.tensor(x).cuda(), torch.tensor(y)) == pytest.approx(score(x, y), rel=1e-7)


@each
def test_wrong_inputs_are_refused(name: str):
    score, x, y = data(name)
    with pytest.raises(ValueError, match=r"non-empty matrix \[N, D\], got \[95\]"):
        score(x[:, 0], y)
    with pytest.raises(ValueError, match=r"one label per row of features, 95, got labels \[94\]"):
        score(x, y[1:])
    with pytest.raises(ValueError, match=r"labels must be integers, got float64"):
        score(x, y.astype(float))
    with pytest.raises(ValueError, match=r"labels must be integers, got torch.bool"):
        score(x, torch.tensor(y == 1))
    with pytest.raises(ValueError, match=r"at least two classes, got only \[5\]"):
        score(x, np.full(95, 5))
    broken = x.copy()
    broken[[3, 9], 0] = np.nan
    with pytest.raises(ValueError, match=r"features must be finite, but 2 of 95 rows are not"):
        score(broken, y)


@each
def test_a_class_of_one_sample_is_reported(name: str):
    score, x, y = data(name)
    labels = y.copy()
    labels[0] = 9
    if name == "linear_probe":
        with (
            pytest.warns(scores.SmallClassWarning),
            pytest.raises(ValueError, match=r"2 \.\. 1, the size of the smallest class, got 5"),
        ):
            score(x, labels)
        return
    with pytest.warns(scores.SmallClassWarning, match=r"1 of 4 classes have one sample.*\[9\]"):
        assert np.isfinite(score(x, labels))


def separated() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    return 100 * np.eye(3)[y] + rng.normal(size=(60, 3)), y


@pytest.mark.parametrize("name", [n for n, s in SCORES.items() if s.saturates_at is not None])
def test_saturation_is_reported(name: str):
    score, (x, y) = SCORES[name], separated()
    if score.needs == "probabilities":
        x = np.eye(3)[y]
    with pytest.warns(scores.SaturationWarning, match=f"saturated at -?{score.saturates_at:g}"):
        assert score.compute(x, y) == pytest.approx(score.saturates_at)


def test_h_score_saturates_with_as_many_dimensions_as_samples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 60)), rng.integers(0, 4, 30)
    with pytest.warns(scores.SaturationWarning, match="H-score is saturated at 3"):
        assert scores.h_score(x, y) == pytest.approx(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scores.regularised_h_score(x, y) < 2


@each_of_features
@pytest.mark.parametrize("row", [np.zeros(12), np.ones(12), np.linspace(-0.3, 0.7, 12)])
def test_constant_features_are_refused(name: str, row: np.ndarray):
    # The mean of many equal numbers is often not that number, and differences would be noise.
    score, x, y = data(name)
    with pytest.raises(ValueError, match="constant: all 95 samples have the same"):
        score(np.broadcast_to(row, x.shape), y)


def test_constant_predictions_tell_the_share_of_the_classes():
    y = np.repeat([0, 1, 2], [60, 25, 10])
    entropy = -sum(n / 95 * np.log(n / 95) for n in (60, 25, 10))
    for name in OF_PROBABILITIES:
        assert SCORES[name].compute(np.full((95, 4), 0.25), y) == pytest.approx(-entropy)


@each_of_features
@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_features_beyond_the_range_of_squares_are_refused(name: str, scale: float):
    score, x, y = data(name)
    with pytest.raises(ValueError, match="cannot be squared in float64: divide"):
        score(scale * x, y)


# scikit-learn's mixture of NLEEP adds an absolute number to variances.
@pytest.mark.parametrize("name", [name for name in OF_FEATURES if not name.startswith("nleep")])
@pytest.mark.parametrize("scale", [1e20, 1e-20])
def test_large_and_small_features_have_a_score(name: str, scale: float):
    score, x, y = data(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isfinite(score(scale * x, y))


@each_of_features
def test_dead_channels_and_more_dimensions_than_samples(name: str):
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1], 20)
    x = np.zeros((40, 60))
    x[:, :50] = rng.normal(size=(2, 50))[y] + 3 * rng.normal(size=(40, 50))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scores.SaturationWarning)
        assert np.isfinite(SCORES[name].compute(x, y))


def test_logits_are_not_taken_for_probabilities():
    y = np.repeat([0, 1], 10)
    logits = np.random.default_rng(0).normal(size=(20, 3))
    for name in OF_PROBABILITIES:
        with pytest.raises(ValueError, match="apply a softmax to logits"):
            SCORES[name].compute(logits, y)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gbc", {"covariance": "full"}, "spherical, diagonal, got 'full'"),
        ("knn", {"metric": "l1"}, "cosine, euclidean, got 'l1'"),
        ("knn", {"n_neighbours": 0}, r"1 \.\. 40, got 0"),
        ("etran", {"share": 0.0}, r"share must lie in \(0, 1\], got 0.0"),
        ("etran", {"covariance": "full"}, "identity, within, got 'full'"),
        ("transrate", {"epsilon": 0}, "epsilon must be above 0, got 0"),
        ("nleep", {"energy": 1.5}, r"energy must lie in \(0, 1\], got 1.5"),
        ("nleep", {"n_components": 96}, r"1 \.\. 95, the number of samples, got 96"),
        ("linear_probe", {"regularisation": 0}, "regularisation must be above 0, got 0"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict, message: str):
    score, x, y = data(name)
    with pytest.raises(ValueError, match=message):
        score(x, y, **options)


def test_parc_names_samples_that_correlate_with_nothing():
    _, x, y = data("parc")
    with pytest.raises(ValueError, match="95 samples have the same value in every dimension"):
        scores.parc(x, y, n_components=1)


@pytest.mark.parametrize("name", ["nleep", "linear_probe"])
def test_a_missing_scikit_learn_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    score, x, y = data(name)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.mixture", None)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"pip install 'modelgif\[experiments\]'"):
        score(x, y)
