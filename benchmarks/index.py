"""Measures search: milliseconds a query, and the recall of approximate against exact search.

    PYTHONPATH=. python benchmarks/index.py

prints one table and writes `benchmarks/results/index.csv`. It needs faiss. Two indexes are
searched:

- 10⁴ sketches of 20 KiB: projections of trained digit classifiers, each model with relatives made
  by adding noise to its projection
- 10⁶ sketches of 256 bytes, synthetic families of a hundred; of 20 KiB they would take 20 GB

A query is one more relative of a model in the index.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import Table, results
from torch import Tensor
from trained_zoo import header, zoo_fields

from modelgif.references.references import References
from modelgif.sketches.approximate import Nearby
from modelgif.sketches.cosine_estimate import pack_signs
from modelgif.sketches.index import Matches, SketchIndex
from modelgif.sketches.sketch import Sketch
from modelgif.sketches.sketcher import SIGNS, Sketcher

ABOUT = header("", References(torch.zeros(1, 1), ("none",)), 50, "float32")
# Numbers of relatives made at once.
_AT_ONCE = 2**27


def relatives(centres: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Signs of vectors at distances of 0.01 to 0.6 from the given rows of `centres`."""
    distance = 0.01 + 0.59 * torch.rand(len(rows), 1, generator=generator)
    noise = torch.randn(len(rows), centres.shape[1], generator=generator)
    cosine = 1 - distance
    return pack_signs(cosine * centres[rows] + (1 - cosine.square()).sqrt() * noise)


def fill(index: SketchIndex, centres: Tensor, count: int, generator: torch.Generator) -> None:
    """Adds `count` relatives, as many of each centre."""
    size = centres.shape[1]
    step = max(1, _AT_ONCE // (4 * size))
    for first in range(0, count, step):
        rows = torch.arange(first, min(first + step, count)) % len(centres)
        values = relatives(centres, rows, generator)
        index.add({f"m{first + i}": sketch(row, size) for i, row in enumerate(values)})


def sketch(values: Tensor, size: int) -> Sketch:
    """The sketch that has these signs."""
    return Sketch(field=ABOUT, size=size, seed=0, number_format="sign", values=values)


def real_centres(zoo: Path | None, models: int, size: int) -> Tensor:
    """Projections ``[M, size]`` of trained models."""
    fields, references = zoo_fields(zoo, models=models, references=128, n_steps=50)
    found = []
    for field in fields.values():
        sketcher = Sketcher(size, number_format="float32")
        sketcher.add(field, references.ids)
        found.append(sketcher.finish(ABOUT).values)
    return torch.stack(found)


def timed(search: Callable[[Sketch], Matches], queries: list[Sketch]) -> tuple[float, list[set]]:
    """Median milliseconds a query, and the names that each found."""
    search(queries[0])
    milliseconds, found = [], []
    for query in queries:
        start = time.perf_counter()
        names, _ = search(query)
        milliseconds.append(1e3 * (time.perf_counter() - start))
        found.append(set(names))
    return statistics.median(milliseconds), found


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Measures search.")
    parser.add_argument("--zoo", type=Path, help="a folder of checkpoints; the demo's by default")
    parser.add_argument("--models", type=int, default=24, help="trained models to begin with")
    parser.add_argument("--count", type=int, default=10_000, help="sketches of 20 KiB")
    parser.add_argument("--synthetic", type=int, default=1_000_000, help="sketches of 256 bytes")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--efforts", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=results("index"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    import faiss

    faiss.omp_set_num_threads(options.threads)
    table = Table(options.output)
    generator = torch.Generator().manual_seed(0)
    families = max(1, options.synthetic // 100)
    kinds = {
        "trained models and relatives": (
            lambda: real_centres(options.zoo, options.models, SIGNS),
            options.count,
        ),
        "synthetic families": (
            lambda: torch.randn(families, 2048, generator=generator),
            options.synthetic,
        ),
    }
    for kind, (make, count) in kinds.items():
        centres = make()
        with tempfile.TemporaryDirectory() as folder:
            index = SketchIndex(folder)
            start = time.perf_counter()
            fill(index, centres, count, generator)
            filled = time.perf_counter() - start
            rows = torch.randint(len(centres), (options.queries,), generator=generator)
            asked = relatives(centres, rows, generator)
            queries = [sketch(values, centres.shape[1]) for values in asked]
            exact_ms, exact = timed(lambda q, i=index: i.search(q, options.k), queries)
            start = time.perf_counter()
            nearby = Nearby(index)
            built = time.perf_counter() - start
            ways = [("exact", exact_ms, exact, filled)]
            for effort in options.efforts:
                near_ms, near = timed(
                    lambda q, n=nearby, e=effort: n.search(q, options.k, ef_search=e), queries
                )
                ways.append((f"faiss, HNSW, effort {effort}", near_ms, near, built))
            for search, milliseconds, found, made in ways:
                hits = [len(a & b) / len(b) for a, b in zip(found, exact, strict=True)]
                table.add(
                    {
                        "sketches": kind,
                        "count": count,
                        "bytes_a_sketch": queries[0].n_bytes,
                        "search": search,
                        "milliseconds_a_query": f"{milliseconds:.2f}",
                        f"recall_at_{options.k}": f"{statistics.mean(hits):.3f}",
                        "seconds_to_make": f"{made:.1f}",
                        "queries": options.queries,
                        "faiss": faiss.__version__,
                    }
                )


if __name__ == "__main__":
    main()
