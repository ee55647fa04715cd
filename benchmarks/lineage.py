"""Times `origin_test` beside the gradient fields that a verdict on the same pair would need.

    PYTHONPATH=. python benchmarks/lineage.py [--networks resnet18 resnet50] [--references 2]

prints one table and writes `benchmarks/results/lineage.csv`, a row per network and pair. Pairs are
two untrained networks of different seeds (every matching is then searched to the end, which is the
slow case), one network and a copy with noise on its weights, and both of these as state dicts. The
origin test's time is that of the whole call: tracing, the numerical check of the sets of units,
and all matchings. Of it, `units_seconds` is tracing and checking.

The field verdict of one pair describes both networks at 64 references with 50 steps, at the size of
224 pixels, and compares them. It is timed at `--references` of them, in the same run and process;
fields are computed reference by reference, so the time for 64 is that time scaled up: an
extrapolation, marked as such by the two columns of references. Independent models, which a verdict
needs as well, are not counted.
"""

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import Table, clock_of, median_seconds, results
from torch import nn
from torchvision import models

from modelgif.distances.distance import distance
from modelgif.fields.gradient_field import gradient_field
from modelgif.lineage import OriginTest, origin_test, unit_sets

N_REFERENCES, N_STEPS, SIDE = 64, 50, 224


def noisy(network: nn.Module) -> nn.Module:
    """Returns a copy with noise of a tenth of each weight's spread."""
    copied = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in copied.parameters():
            if weight.ndim > 1:
                noise = torch.randn(weight.shape, generator=generator)
                weight += 0.1 * weight.std() * noise
    return copied


def measure(name: str, n_references: int, n_steps: int, repeats: int) -> list[dict[str, str | int]]:
    """Returns a row per pair of one network."""
    networks: list[nn.Module] = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        networks.append(getattr(models, name)().eval().requires_grad_(False))
    a, b = networks
    thief = noisy(a)
    pairs: dict[str, Callable[[], OriginTest]] = {
        "independent": lambda: origin_test(a, b),
        "derived": lambda: origin_test(a, thief),
        "independent, state dicts": lambda: origin_test(a.state_dict(), b.state_dict()),
        "derived, state dicts": lambda: origin_test(a.state_dict(), thief.state_dict()),
    }
    references = torch.rand(n_references, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def fields() -> object:
        return distance(
            gradient_field(a, references, n_steps=n_steps),
            gradient_field(b, references, n_steps=n_steps),
        )

    clock, name_of_clock = clock_of("cpu")
    seconds = median_seconds(
        {**pairs, "units": lambda: unit_sets(b), "fields": fields}, repeats=repeats, clock=clock
    )
    scale = N_REFERENCES / n_references * N_STEPS / n_steps
    rows: list[dict[str, str | int]] = []
    for pair, test in pairs.items():
        found = test()
        traced = "state dicts" not in pair
        rows.append(
            {
                "network": name,
                "pair": pair,
                "log10_p": f"{found.log10_p:.1f}",
                "layers": len(found.layers),
                "origin_seconds": f"{seconds[pair]:.2f}",
                "units_seconds": f"{seconds['units']:.2f}" if traced else "",
                "fields_seconds_measured": f"{seconds['fields']:.1f}",
                "references_x_steps_measured": f"{n_references}×{n_steps}",
                "fields_seconds": f"{scale * seconds['fields']:.0f}",
                "references_x_steps": f"{N_REFERENCES}×{N_STEPS}",
                "times_faster": f"{scale * seconds['fields'] / seconds[pair]:.0f}",
                "repeats": repeats,
                "clock": name_of_clock,
            }
        )
    return rows


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Times the origin test.")
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--references", type=int, default=2)
    parser.add_argument("--steps", type=int, default=N_STEPS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=results("lineage"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    table = Table(options.output)
    for name in options.networks:
        for row in measure(name, options.references, options.steps, options.repeats):
            table.add(row)


if __name__ == "__main__":
    main()
