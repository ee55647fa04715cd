"""Times the distances of all pairs against a loop over pairs of torch.cosine_similarity.

    python benchmarks/pairs.py [--device cuda]

prints one table and writes `benchmarks/results/pairs.csv`. With 100 models the loop has 4,950
pairs. Fields are float32, in memory, or in field stores, where the loop reads two of them for every
pair, as it must when not all fit in memory. All ways are run in turns in one process, and beside
them what no way can beat: the bare product of matrices that the distances in memory come down to.
Of M stores the loop reads each M - 1 times, and no way can be faster by much more than that.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import torch
from measuring import Table, median_seconds, results
from torch import Tensor
from trained_zoo import write_stores

from modelgif.distances.cells import unit_cells
from modelgif.distances.distance import pairwise_distances
from modelgif.references.references import References
from modelgif.storage.field_store import FieldStore


def loop(fields: list[Tensor]) -> Tensor:
    """One pair after the other, a call each."""
    found = torch.zeros(len(fields), len(fields), dtype=torch.float64, device=fields[0].device)
    for i, j in torch.combinations(torch.arange(len(fields))).tolist():
        found[i, j] = 1 - torch.cosine_similarity(fields[i], fields[j], dim=2).mean()
    return found + found.T


def loop_of_stores(paths: list[Path], device: str) -> Tensor:
    """The same, with two stores read for each pair."""

    def read(path: Path) -> Tensor:
        with FieldStore(path) as store:
            return store[:].to(device)

    found = torch.zeros(len(paths), len(paths), dtype=torch.float64, device=device)
    for i, j in torch.combinations(torch.arange(len(paths))).tolist():
        found[i, j] = 1 - torch.cosine_similarity(read(paths[i]), read(paths[j]), dim=2).mean()
    return found + found.T


def ours_of_stores(paths: list[Path], dtype: torch.dtype) -> Tensor:
    """All pairs of stores, each read once."""
    with ExitStack() as opened:
        stores = [opened.enter_context(FieldStore(path)) for path in paths]
        return pairwise_distances(stores, product_dtype=dtype)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Times all pairs.")
    parser.add_argument("--models", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--references", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--inputs", type=int, default=3072, help="numbers of an input")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=results("pairs"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    table = Table(options.output, options.device)
    shape = (options.references, options.steps, options.inputs)
    points = References(torch.zeros(shape[0], 1), tuple(map(str, range(shape[0]))))
    for count in options.models:
        generator = torch.Generator().manual_seed(0)
        fields = {str(i): torch.randn(shape, generator=generator) for i in range(count)}
        exact = loop([field.double() for field in fields.values()])
        with tempfile.TemporaryDirectory() as folder:
            write_stores(Path(folder), fields, points)
            paths = [Path(folder, f"{name}.h5") for name in fields]
            there = [field.to(options.device) for field in fields.values()]
            for place, ways in (
                ("memory", in_memory(there)),
                ("stores", in_stores(paths, options.device)),
            ):
                seconds = median_seconds(ways, repeats=options.repeats, device=options.device)
                slowest = next(iter(seconds.values()))
                for name, way in ways.items():
                    table.add(
                        {
                            "way": name,
                            "fields_in": place,
                            "models": count,
                            "shape": "×".join(map(str, shape)),
                            "seconds": f"{seconds[name]:.4f}",
                            "times_faster": f"{slowest / seconds[name]:.1f}",
                            "largest_error": f"{(way().cpu() - exact).abs().max():.1e}",
                            "repeats": options.repeats,
                        }
                    )


def in_memory(fields: list[Tensor]) -> dict[str, Callable[[], Tensor]]:
    """The ways to compare fields in memory, the slowest first, and the products they come down to.

    The bare products have their factors from before: cells of length 1, in their precision.
    """
    n_cells = fields[0].shape[0] * fields[0].shape[1]
    double = torch.stack([unit_cells(field.double()).flatten() for field in fields])
    single = double.float()
    return {
        "loop of torch.cosine_similarity": lambda: loop(fields),
        "ours": lambda: pairwise_distances(fields),
        "ours, float32 products": lambda: pairwise_distances(fields, product_dtype=torch.float32),
        "bare product": lambda: 1 - double @ double.T / n_cells,
        "bare product, float32": lambda: 1 - single @ single.T / n_cells,
    }


def in_stores(paths: list[Path], device: str) -> dict[str, Callable[[], Tensor]]:
    """The ways to compare fields in stores, the slowest first; ours reads to the CPU."""
    return {
        "loop of torch.cosine_similarity": lambda: loop_of_stores(paths, device),
        "ours": lambda: ours_of_stores(paths, torch.float64),
        "ours, float32 products": lambda: ours_of_stores(paths, torch.float32),
    }


if __name__ == "__main__":
    main()
