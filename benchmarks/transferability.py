"""Times LogME, SFDA and PED against their formulas written down plainly, in one run.

    python benchmarks/transferability.py

prints one table and writes `benchmarks/results/transferability.csv`. At N = 5,000 and D = 2,048
it takes some minutes on two cores. Both sides are run in turns, and their results are compared.
"""

import argparse
import csv
import datetime
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.special
import torch
from threadpoolctl import threadpool_limits

from modelgif.storage.atomic import whole_file
from modelgif.transferability import logme, ped, ped_features, ped_grid, sfda

N_SIGMA, DT = (0.3, 0.6), (0.1, 0.2)
# A side that needs longer than this for one run is timed three times only.
LONG_SECONDS, FEW = 30.0, 3


class Comparison(NamedTuple):
    """Two ways to the same numbers."""

    task: str
    baseline: str
    slow: Callable[[], float]
    fast: Callable[[], float]


def plain_logme(x: np.ndarray, y: np.ndarray) -> float:
    """LogME a class at a time, from a full singular value decomposition of FᵀF."""
    n, d = x.shape
    v, s, vh = np.linalg.svd(x.T @ x, full_matrices=True)
    evidences = []
    for c in np.unique(y):
        target = (y == c).astype(float)
        projected = vh @ (x.T @ target)
        alpha = beta = ratio = norm = residual = 1.0
        for _ in range(11):
            gamma = (s / (s + ratio)).sum()
            weights = v @ (beta * projected / (alpha + beta * s))
            norm, residual = weights @ weights, ((target - x @ weights) ** 2).sum()
            alpha, beta = gamma / (norm + 1e-5), (n - gamma) / (residual + 1e-5)
            if abs(alpha / beta - ratio) / ratio < 0.01:
                break
            ratio = alpha / beta
        evidences.append(
            d / 2 * math.log(alpha)
            + n / 2 * math.log(beta)
            - np.log(alpha + beta * s).sum() / 2
            - beta / 2 * (residual + 1e-5)
            - alpha / 2 * (norm + 1e-5)
            - n / 2 * math.log(2 * math.pi)
        )
    return float(np.mean(evidences) / n)


def plain_sfda(x: np.ndarray, y: np.ndarray) -> float:
    """SFDA with a covariance a class and generalised eigenvectors, twice."""
    classes, y = np.unique(y, return_inverse=True)
    shares = np.bincount(y) / len(y)

    def shrink(covariance: np.ndarray, amount: float) -> np.ndarray:
        level = np.trace(covariance) / len(covariance)
        return (1 - amount) * covariance + amount * level * np.eye(len(covariance))

    def largest(matrix: np.ndarray) -> float:
        a = b = matrix.sum(1)
        for _ in range(3):
            b = matrix @ a / np.linalg.norm(matrix @ a)
            a = matrix @ b / np.linalg.norm(matrix @ b)
        return float(a @ matrix @ b)

    def fisher(x: np.ndarray, amount: float | None) -> tuple[np.ndarray, np.ndarray, float]:
        means = np.stack([x[y == c].mean(0) for c in range(len(classes))])
        within = np.zeros((x.shape[1], x.shape[1]))
        for c, share in enumerate(shares):
            within += share * np.cov(x[y == c].T, bias=True)
        amount = max(math.exp(-5 * largest(within)), 1e-10) if amount is None else amount
        within = shrink(within, amount)
        between = shrink(np.cov(x.T, bias=True), amount) - within
        _, vectors = scipy.linalg.eigh(between, within)
        weights = means @ vectors @ vectors.T
        logits = x @ weights.T - (means * weights).sum(1) / 2 + np.log(shares)
        return scipy.special.softmax(logits, axis=1), means, amount

    rows = np.arange(len(y))
    posterior, means, amount = fisher(x, None)
    sure = scipy.special.softmax(posterior, axis=1)[rows, y][:, None]
    others = (means.sum(0) - means) / (len(classes) - 1)
    posterior, _, _ = fisher(sure * x + (1 - sure) * others[y], amount)
    return float(posterior[rows, y].mean())


def plain_ped(x: np.ndarray, y: np.ndarray, general: np.ndarray) -> float:
    """PED on all pairs of classes at once, rescaling the features in every step."""
    mean, deviation = general.mean(0), general.std(0)
    n_classes, first = y.max() + 1, math.nan
    for step in range(6):
        z = (x - mean) / deviation
        means = np.stack([z[y == c].mean(0) for c in range(n_classes)])
        radii = np.sqrt(np.stack([z[y == c].var(0) for c in range(n_classes)]).sum(1))
        lines = means[:, None] - means
        distances = np.linalg.norm(lines, axis=2) + np.eye(n_classes)
        overlap = np.maximum(0.6 * (radii[:, None] + radii) - distances, 0)
        np.fill_diagonal(overlap, 0)
        push = np.minimum(0.5 * 0.1**2 * overlap, overlap) / distances
        shift = (push[..., None] * lines).sum(1)
        movement = np.abs(shift).sum()
        first = movement if step == 0 else first
        if movement <= 0.5 * first:
            break
        x = (z + shift[y]) * deviation + mean
    return float(x.sum())


def sample(n: int, d: int, c: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rectified Gaussian classes, as after a ReLU, and general features of other classes."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(n) % c)
    means = 0.4 * rng.normal(size=(c, d))
    x = np.maximum(means[y] + rng.normal(size=(n, d)), 0)
    return x, y, np.maximum(0.5 * rng.normal(size=d) + rng.normal(size=(n, d)), 0)


def comparisons(n: int, d: int, c: int) -> list[Comparison]:
    """The comparisons at one size."""
    x, y, general = sample(n, d, c)
    grid = partial(ped_grid, x, y, general=general, score=logme)
    one = partial(ped, x, y, general=general, score=logme)

    def points() -> float:
        return sum(one(n_sigma=s, dt=t) for s in N_SIGMA for t in DT)

    return [
        Comparison("LogME", "plain", lambda: plain_logme(x, y), lambda: logme(x, y)),
        Comparison("SFDA", "plain", lambda: plain_sfda(x, y), lambda: sfda(x, y)),
        Comparison(
            "PED",
            "plain, [C, C, D]",
            lambda: plain_ped(x, y, general),
            lambda: float(ped_features(x, y, general=general)[0].sum()),
        ),
        Comparison(
            "PED + LogME on a 2 × 2 grid",
            "four calls of ped",
            points,
            lambda: float(grid(n_sigma=N_SIGMA, dt=DT).sum()),
        ),
        Comparison(
            "PED + LogME on a 2 × 2 grid",
            "one point, so below 1",
            lambda: float(grid(n_sigma=(0.6,), dt=(0.1,)).sum()),
            lambda: float(grid(n_sigma=N_SIGMA, dt=DT).sum()),
        ),
    ]


def measure(comparison: Comparison, repeats: int) -> tuple[float, float, int, float]:
    """Returns the median seconds of both sides, the repeats, and the results' difference."""
    slow, fast, difference = [], [], math.nan
    while len(slow) < repeats:
        start = time.perf_counter()
        expected = comparison.slow()
        middle = time.perf_counter()
        got = comparison.fast()
        slow.append(middle - start)
        fast.append(time.perf_counter() - middle)
        difference = abs(got - expected) / abs(expected)
        if max(slow) > LONG_SECONDS:
            repeats = min(repeats, FEW)
    return statistics.median(slow), statistics.median(fast), len(slow), difference


def conditions(threads: int) -> dict[str, str]:
    """What the numbers depend on."""
    cpu = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in s]
    return {
        "cpu": cpu[0].split(":")[1].strip() if cpu else platform.processor(),
        "threads": str(threads),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "torch": torch.__version__,
        # Other work on the machine: more than the free cores means both sides were slowed.
        "load": f"{os.getloadavg()[0]:.1f} of {os.cpu_count()}",
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    """Runs all comparisons, prints the table and writes it."""
    parser = argparse.ArgumentParser(description="Times transferability scores.")
    parser.add_argument("--n", type=int, default=5000, help="samples")
    parser.add_argument("--d", type=int, default=2048, help="dimensions")
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--tasks", nargs="+", default=["LogME", "SFDA", "PED"], help="first words")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    default = Path(__file__).parent / "results" / "transferability.csv"
    parser.add_argument("--output", type=Path, default=default)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    rows: list[dict[str, str | int]] = []
    print(f"{'task':28} {'against':24} {'C':>4} {'baseline s':>11} {'ours s':>8} {'ratio':>7}")
    with threadpool_limits(options.threads):
        for c in options.classes:
            for comparison in comparisons(options.n, options.d, c):
                if comparison.task.split()[0] not in options.tasks:
                    continue
                slow, fast, repeats, difference = measure(comparison, options.repeats)
                ratio = slow / fast
                print(
                    f"{comparison.task:28} {comparison.baseline:24} {c:4} {slow:11.3f} "
                    f"{fast:8.3f} {ratio:7.2f}",
                    flush=True,
                )
                rows.append(
                    {
                        "task": comparison.task,
                        "baseline": comparison.baseline,
                        "n": options.n,
                        "d": options.d,
                        "classes": c,
                        "baseline_seconds": f"{slow:.4f}",
                        "seconds": f"{fast:.4f}",
                        "ratio": f"{ratio:.2f}",
                        "repeats": repeats,
                        "relative_difference": f"{difference:.1e}",
                        **conditions(options.threads),
                    }
                )
                write(options.output, rows)


def write(path: Path, rows: list[dict[str, str | int]]) -> None:
    """Writes the rows measured so far."""
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
