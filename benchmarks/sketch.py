"""Measures sketches of trained models: their size, the error of distances, and stated intervals.

    PYTHONPATH=. python benchmarks/sketch.py

prints one table and writes `benchmarks/results/sketch.csv`. The models are digit classifiers, some
made from others; those of the demo are trained first when they are missing, which takes minutes.
Errors and coverage are over all pairs of models and all seeds.
"""

import argparse
import time
from pathlib import Path

import torch
from measuring import Table, results
from torch import Tensor
from trained_zoo import header, zoo_fields

from modelgif.distances.distance import pairwise_distances
from modelgif.sketches.cosine_estimate import NumberFormat, interval
from modelgif.sketches.sketch import Sketch, estimate_distances
from modelgif.sketches.sketcher import SIGNS, Sketcher
from modelgif.storage.field_header import FieldHeader

CASES: list[tuple[NumberFormat, int]] = [
    ("sign", 8 * 1024),
    ("sign", 8 * 5 * 1024),
    ("sign", SIGNS),
    ("float16", 10 * 1024),
    ("float32", 5 * 1024),
]


def make(field: Tensor, ids: tuple[str, ...], about: FieldHeader, **options: object) -> Sketch:
    """The sketch of a field in memory."""
    sketcher = Sketcher(**options)  # type: ignore[arg-type]
    sketcher.add(field, ids)
    return sketcher.finish(about)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Measures sketches.")
    parser.add_argument("--zoo", type=Path, help="a folder of checkpoints; the demo's by default")
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--references", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--confidence", type=float, default=0.995)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=results("sketch"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    fields, references = zoo_fields(
        options.zoo, models=options.models, references=options.references, n_steps=options.steps
    )
    about = header("", references, options.steps, "float32")
    rows, columns = torch.triu_indices(len(fields), len(fields), 1)
    exact = pairwise_distances(list(fields.values()), names=list(fields))[rows, columns]
    table = Table(options.output)
    for precision, size in CASES:
        errors, held, seconds, sketches = [], [], 0.0, []
        for seed in range(options.seeds):
            start = time.perf_counter()
            sketches = [
                make(field, references.ids, about, size=size, seed=seed, number_format=precision)
                for field in fields.values()
            ]
            seconds += time.perf_counter() - start
            found = estimate_distances(sketches)[rows, columns]
            low, high = interval(found, size, precision, options.confidence)
            errors.append(found - exact)
            held.append((low <= exact) & (exact <= high))
        error, near = torch.stack(errors), exact < 0.1
        table.add(
            {
                "precision": precision,
                "numbers": size,
                "bytes": sketches[0].n_bytes,
                "mean_square_error": f"{error.square().mean().sqrt():.5f}",
                "for_distances_below_0.1": f"{error[:, near].square().mean().sqrt():.5f}",
                "largest_error": f"{error.abs().max():.5f}",
                "within_0.01": f"{(error.abs() <= 0.01).double().mean():.4f}",
                f"held_by_{100 * options.confidence:g}%_interval": (
                    f"{torch.stack(held).double().mean():.4f}"
                ),
                "seconds_a_sketch": f"{seconds / options.seeds / len(fields):.3f}",
                "pairs": len(exact),
                "seeds": options.seeds,
                "field_bytes": 4 * next(iter(fields.values())).numel(),
            }
        )


if __name__ == "__main__":
    main()
