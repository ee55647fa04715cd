"""Potential energy descent against the golden arrays, a pairwise loop and its corner cases."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from modelgif.transferability import (
    PedWarning,
    gbc,
    logme,
    ped,
    ped_features,
    ped_grid,
    sfda,
)

CASES = ["synth_n600_d64_c10", "synth_n400_d48_c4_sep", "synth_n500_d32_c8_imb"]
quiet = pytest.mark.filterwarnings(
    "ignore::modelgif.transferability.SaturationWarning",
    "ignore::modelgif.transferability.PedWarning",
)


def load(golden: Path, case: str) -> tuple[dict[str, np.ndarray], dict]:
    folder = golden / "transferability"
    with np.load(folder / f"{case}.npz") as file:
        arrays = dict(file)
    return arrays, json.loads((folder / "golden.json").read_text())["cases"][case]["values"]


@quiet
@pytest.mark.parametrize("n_sigma", ["0.3", "0.6", "2.0"])
@pytest.mark.parametrize("case", CASES)
def test_golden_descent(golden: Path, case: str, n_sigma: str):
    arrays, value = load(golden, case)
    x, y, general = arrays["X"], arrays["y"], arrays["general_X"]
    one, _ = ped_features(x, y, general=general, n_sigma=float(n_sigma), max_steps=1)
    np.testing.assert_allclose(one, arrays[f"ped_onestep_X_ns{n_sigma}"], rtol=0, atol=1e-12)
    moved, report = ped_features(x, y, general=general, n_sigma=float(n_sigma))
    if n_sigma == "0.6":
        np.testing.assert_allclose(moved, arrays["ped_final_X_ns0.6"], rtol=0, atol=1e-12)
        after = value["gbc_spherical_nopca_after_ped_ns0.6"]
        assert gbc(moved, y, n_components=None) == pytest.approx(after, rel=1e-9)
    assert report.n_steps == value[f"ped_steps_ns{n_sigma}"]
    # The published program divides zero by zero where nothing overlaps, stored as null.
    ratios = [r for r in value[f"ped_change_ratios_ns{n_sigma}"] if r is not None]
    assert report.change_ratios == pytest.approx(ratios, rel=1e-12)
    got = ped(x, y, general=general, score=sfda, n_sigma=float(n_sigma))
    assert got == pytest.approx(value[f"ped_sfda_ns{n_sigma}"], abs=1e-7)
    # These were read with another stopping rule of LogME, right while D < N: compare converged.
    converged = logme(moved, y, tolerance=1e-9, max_iterations=1000, epsilon=0)
    assert converged == pytest.approx(value[f"ped_logme_ns{n_sigma}"], abs=1e-6)


@quiet
@pytest.mark.parametrize(
    ("dt", "k", "exit_ratio", "n_sigma"),
    [(1.0, 1.0, 0.5, 0.6), (0.5, 1.0, 0.9, 2.0), (0.1, 10.0, 0.5, 0.6)],
)
@pytest.mark.parametrize("case", CASES)
def test_golden_stopping(golden: Path, case: str, dt, k, exit_ratio, n_sigma):
    arrays, value = load(golden, case)
    key = f"t{dt}_k{k}_er{exit_ratio}_ns{n_sigma}"
    moved, report = ped_features(
        arrays["X"],
        arrays["y"],
        general=arrays["general_X"],
        n_sigma=n_sigma,
        dt=dt,
        k=k,
        exit_ratio=exit_ratio,
    )
    assert report.n_steps == value[f"ped_steps_{key}"]
    ratios = [r for r in value[f"ped_change_ratios_{key}"] if r is not None]
    assert report.change_ratios == pytest.approx(ratios, rel=1e-9, abs=1e-12)
    converged = logme(moved, arrays["y"], tolerance=1e-9, max_iterations=1000, epsilon=0)
    assert converged == pytest.approx(value[f"ped_logme_{key}"], abs=1e-5)


def pairwise(x, y, general, n_sigma, dt, k, steps):
    """The definition, a pair at a time."""
    mean, deviation = general.mean(0), general.std(0)
    z = (x - mean) / deviation
    n_classes = y.max() + 1
    for _ in range(steps):
        means = np.stack([z[y == c].mean(0) for c in range(n_classes)])
        radii = [math.sqrt(z[y == c].var(0).sum()) for c in range(n_classes)]
        shift = np.zeros_like(means)
        for i in range(n_classes):
            for j in range(n_classes):
                if i != j:
                    line = means[i] - means[j]
                    distance = np.linalg.norm(line)
                    overlap = max(n_sigma * (radii[i] + radii[j]) - distance, 0)
                    shift[i] += min(k * dt**2 / 2 * overlap, overlap) * line / distance
        z = z + shift[y]
    return z * deviation + mean


def sample(c: int = 5, d: int = 30, n: int = 60, *, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(c), np.arange(c), rng.integers(0, c, n - 2 * c)])
    x = 5 + 0.7 * rng.normal(size=(c, d))[y] + rng.normal(size=(n, d))
    return x, y, 3 + rng.normal(size=(80, d)) * rng.uniform(0.5, 2, d)


@pytest.mark.parametrize(("dt", "k"), [(0.1, 1.0), (0.3, 2.0), (2.0, 1.0)])
def test_descent_is_the_pairwise_definition(dt: float, k: float):
    x, y, general = sample()
    moved, report = ped_features(
        x, y, general=general, n_sigma=0.7, dt=dt, k=k, max_steps=3, exit_ratio=0
    )
    assert report.n_steps > 0
    expected = pairwise(x, y, general, 0.7, dt, k, report.n_steps)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-11)


def test_a_step_never_moves_a_pair_by_more_than_its_overlap():
    x, y, general = sample(c=2)
    huge, _ = ped_features(x, y, general=general, dt=100.0, max_steps=1)
    full, _ = ped_features(x, y, general=general, dt=math.sqrt(2), max_steps=1)
    np.testing.assert_allclose(huge, full, rtol=0, atol=1e-12)


def test_inputs_stay_and_tensors_agree_with_arrays():
    x, y, general = sample()
    kept = x.copy(), y.copy(), general.copy()
    for array in (x, y, general):
        array.flags.writeable = False
    arrays, _ = ped_features(x, y, general=general)
    tensors, _ = ped_features(torch.tensor(x), torch.tensor(y), general=torch.tensor(general))
    assert torch.equal(arrays, tensors)
    for array, copy in zip((x, y, general), kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_names_of_classes_order_and_imbalance_do_not_matter():
    x, y, general = sample()
    moved, _ = ped_features(x, y, general=general)
    renamed, _ = ped_features(x, np.array([50, -3, 7, 10**10, 0])[y], general=general)
    np.testing.assert_allclose(renamed, moved, rtol=0, atol=1e-12)
    order = np.random.default_rng(1).permutation(len(y))
    shuffled, _ = ped_features(x[order], y[order], general=general)
    np.testing.assert_allclose(shuffled, moved[order], rtol=0, atol=1e-12)


def test_only_class_means_move():
    x, y, general = sample()
    moved, _ = ped_features(x, y, general=general)
    change = moved.numpy() - x
    for c in range(5):
        assert np.ptp(change[y == c], axis=0).max() < 1e-12
    assert np.abs(change).max() > 1e-3


def test_no_overlap_is_reported_and_nothing_moves():
    x, y, general = sample()
    with pytest.warns(PedWarning, match="no classes overlap"):
        moved, report = ped_features(x, y, general=general, n_sigma=0)
    np.testing.assert_array_equal(moved, x)
    assert report == (0, (), 0, 0, 0)


def test_coincident_means_are_reported_and_do_not_part():
    x, y, general = sample(c=2)
    # Classes 2 and 3 are copies of class 0, and class 1 pushes all three alike.
    x = np.concatenate([x, x[y == 0], x[y == 0]])
    y = np.concatenate([y, np.repeat([2, 3], (y == 0).sum())])
    with pytest.warns(PedWarning, match="3 pairs of class means coincide"):
        moved, report = ped_features(x, y, general=general)
    assert torch.isfinite(moved).all()
    assert (report.n_overlapping, report.n_coincident) == (3, 3)
    means = [moved[y == c].mean(0) for c in range(4)]
    assert torch.dist(means[0], means[2]) < 1e-9
    assert torch.dist(means[0], means[3]) < 1e-9
    before = np.linalg.norm(x[y == 0].mean(0) - x[y == 1].mean(0))
    assert torch.dist(means[0], means[1]) > 1.05 * before


def test_all_means_in_one_point():
    x, y, general = sample(c=3)
    for c in range(3):
        x[y == c] -= x[y == c].mean(0)
    with pytest.warns(PedWarning) as caught:
        moved, report = ped_features(x, y, general=general)
    assert [str(w.message).split(" ")[0] for w in caught] == ["3", "no"], report
    np.testing.assert_array_equal(moved, x)
    assert report.n_coincident == 3


def test_a_dead_channel_is_floored_relative_to_the_others():
    x, y, general = sample()
    general[:, 4] = 7.0
    moved, report = ped_features(x, y, general=general)
    assert report.n_floored == 1
    # The unit of the features must not matter, as it does for an absolute floor.
    small, _ = ped_features(x * 1e-6, y, general=general * 1e-6)
    np.testing.assert_allclose(small * 1e6, moved, rtol=1e-9)
    with pytest.raises(ValueError, match="1 channels of general are constant and floor is 0"):
        ped_features(x, y, general=general, floor=0)


def test_wrong_inputs_are_refused():
    x, y, general = sample()
    with pytest.raises(ValueError, match="general has 29 dimensions and the features 30"):
        ped_features(x, y, general=general[:, 1:])
    with pytest.raises(ValueError, match="30 channels of general are constant"):
        ped_features(x, y, general=np.ones((5, 30)))
    with pytest.raises(ValueError, match="general must be finite, but 1 of 1 rows"):
        ped_features(x, y, general=np.full((1, 30), np.nan))
    with pytest.raises(ValueError, match="dt must be at least 0, got -1"):
        ped_features(x, y, general=general, dt=-1)
    with pytest.raises(ValueError, match="floor must be at least 0, got -1"):
        ped_features(x, y, general=general, floor=-1)


@quiet
@pytest.mark.parametrize(("n", "d", "c"), [(200, 30, 4), (30, 200, 4), (60, 6, 5)])
def test_a_grid_of_logme_equals_its_points(n: int, d: int, c: int):
    x, y, general = sample(c=c, d=d, n=n)
    n_sigma, dt = [0.0, 0.6, 2.0], [0.1, 1.0]
    grid = ped_grid(x, y, general=general, score=logme, n_sigma=n_sigma, dt=dt)
    points = [
        [ped(x, y, general=general, score=logme, n_sigma=s, dt=t) for t in dt] for s in n_sigma
    ]
    np.testing.assert_allclose(grid, points, rtol=1e-9)
    assert grid[2, 1] > grid[0, 0] == grid[0, 1]


def test_a_grid_of_any_score_equals_its_points():
    x, y, general = sample(d=8, n=100)
    grid = ped_grid(x, y, general=general, score=gbc, n_sigma=[0.6, 0.9], dt=[0.1])
    points = [[ped(x, y, general=general, score=gbc, n_sigma=s)] for s in (0.6, 0.9)]
    np.testing.assert_allclose(grid, points, rtol=1e-12)
