"""Tests that `origin_test` keeps its level: pairs of networks that were trained independently.

    PYTHONPATH=. python benchmarks/lineage_level.py [--networks 33]

trains 33 small networks of each of four architectures on scikit-learn's digits, each from a start,
on images, in an order and for a time of its own, and tests all pairs within an architecture: 2,112
of them. It writes `benchmarks/results/lineage_level.csv`, one row per pair,
`benchmarks/results/lineage_level_shares.csv`, the shares of p-values at most .05, .01 and .001 with
their Clopper–Pearson intervals, and `assets/lineage_level.png`, a QQ plot. A p-value keeps its
level if that share is not above it. Pairs that share a network are not independent of one another,
so the intervals, which take them as such, are somewhat too short.

About five minutes of one core's time.
"""

import argparse
import csv
import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from measuring import Row, conditions, results
from scipy.stats import beta
from sklearn.datasets import load_digits
from torch import Tensor, nn

from modelgif.experiment.networks import convnet, mobilenet, resnet, vgg
from modelgif.lineage import origin_test
from modelgif.storage.atomic import whole_file

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "convnet": convnet,
    "mobilenet": mobilenet,
    "resnet": resnet,
    "vgg": vgg,
}
LEVELS = (0.05, 0.01, 0.001)
WIDTH = 12


def trained(make: Callable[..., nn.Module], images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    """Returns a network of its own start, images, order, learning rate and number of epochs."""
    torch.manual_seed(seed)
    network = make(1, 10, width=WIDTH).train()
    generator = torch.Generator().manual_seed(seed)
    mine = torch.randperm(len(images), generator=generator)[:900]
    rate = (0.02, 0.05, 0.1)[seed % 3]
    epochs = (2, 4, 8)[seed // 3 % 3]
    optimiser = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    for _ in range(epochs):
        order = mine[torch.randperm(len(mine), generator=generator)]
        for batch in order.split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimiser.step()
    return network.eval()


def interval(hits: int, n: int) -> tuple[float, float]:
    """Returns the Clopper–Pearson interval at 95 % of a share."""
    low = 0.0 if hits == 0 else float(beta.ppf(0.025, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(0.975, hits + 1, n - hits))
    return low, high


def shares(name: str, log10_p: Sequence[float]) -> list[Row]:
    """Returns a row per level."""
    rows: list[Row] = []
    for level in LEVELS:
        hits = sum(p <= math.log10(level) for p in log10_p)
        low, high = interval(hits, len(log10_p))
        rows.append(
            {
                "p_values": name,
                "n": len(log10_p),
                "level": f"{level}",
                "at_most": hits,
                "share": f"{hits / len(log10_p):.5f}",
                "low": f"{low:.5f}",
                "high": f"{high:.5f}",
            }
        )
    return rows


def qq_plot(tests: Sequence[float], layers: Sequence[float]) -> Figure:
    """Returns p-values against those of a uniform law; below the diagonal is conservative."""
    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for name, logs in (("each layer", layers), ("all layers of a pair", tests)):
        values = np.sort(np.asarray(logs))
        expected = np.log10((np.arange(len(values)) + 0.5) / len(values))
        axes.plot(-expected, -values, ".", markersize=3, label=f"{name}, n = {len(values):,}")
    limit = -math.log10(0.5 / len(layers))
    axes.plot([0, limit], [0, limit], color="grey", linewidth=0.8)
    axes.set(xlabel="−log10 p, expected at most", ylabel="−log10 p, observed")
    axes.set_title("Independently trained networks\n(below the line: conservative)", fontsize=10)
    axes.legend(fontsize=8)
    return figure


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows of the same columns, whole or not at all."""
    with whole_file(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Trains, tests, writes and draws."""
    parser = argparse.ArgumentParser(description="Tests the level of the origin test.")
    parser.add_argument("--networks", type=int, default=33, help="per architecture")
    parser.add_argument("--output", type=Path, default=results("lineage_level"))
    parser.add_argument("--plot", type=Path, default=Path("assets/lineage_level.png"))
    options = parser.parse_args()

    torch.set_num_threads(1)
    data, targets = load_digits(return_X_y=True)
    images = torch.tensor(data / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    labels = torch.tensor(targets)
    rows: list[Row] = []
    logs: dict[str, list[float]] = {}
    layer_logs: list[float] = []
    seed = 1000
    for name, make in ARCHITECTURES.items():
        networks: list[nn.Module] = []
        begun = time.perf_counter()
        for _ in range(options.networks):
            networks.append(trained(make, images, labels, seed))
            seed += 1
        trained_in = time.perf_counter() - begun
        for a, b in itertools.combinations(range(len(networks)), 2):
            # The seed breaks ties, in another way for each pair.
            test = origin_test(networks[a], networks[b], example=images[:2], seed=len(rows))
            logs.setdefault(name, []).append(test.log10_p)
            layer_logs += [layer.log10_p for layer in test.layers]
            rows.append(
                {
                    "architecture": name,
                    "a": a,
                    "b": b,
                    "log10_p": f"{test.log10_p:.4f}",
                    "layers": len(test.layers),
                    "matched": sum(layer.n_matched for layer in test.layers),
                    "units": sum(layer.n_b for layer in test.layers),
                    "left_out": len(test.left_out),
                    "smallest_layer_log10_p": f"{min(la.log10_p for la in test.layers):.4f}",
                }
            )
        print(
            f"{name}: {len(networks)} networks in {trained_in:.0f} s, {len(logs[name])} pairs, "
            f"{time.perf_counter() - begun:.0f} s in all",
            flush=True,
        )
    write(options.output, rows)
    whole = [p for values in logs.values() for p in values]
    table = shares("pairs, all architectures", whole)
    for name, values in logs.items():
        table += shares(f"pairs, {name}", values)
    table += shares("layers", layer_logs)
    table = [row | conditions() for row in table]
    write(options.output.with_name(f"{options.output.stem}_shares.csv"), table)
    for row in table:
        print(*(f"{key} {row[key]}" for key in ("p_values", "n", "level", "share", "low", "high")))
    qq_plot(whole, layer_logs).savefig(options.plot, dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
