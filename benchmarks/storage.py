"""Measures field stores: size, time, and what their precision does to distances.

    PYTHONPATH=. python benchmarks/storage.py

prints one table and writes `benchmarks/results/storage.csv`. The fields are those of trained digit
classifiers; the models of the demo are trained first when they are missing, which takes minutes.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from measuring import Table, median_seconds, results
from torch import Tensor
from trained_zoo import write_stores, zoo_fields

from modelgif.distances.distance import pairwise_distances
from modelgif.storage.field_header import Storage
from modelgif.storage.field_store import FieldStore


def read(folder: Path) -> list[Tensor]:
    """Returns the fields of all stores."""
    found = []
    for path in sorted(folder.glob("*.h5")):
        with FieldStore(path) as store:
            found.append(store[:])
    return found


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Measures field stores.")
    parser.add_argument("--zoo", type=Path, help="a folder of checkpoints; the demo's by default")
    parser.add_argument("--models", type=int, default=24)
    parser.add_argument("--references", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=results("storage"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    fields, references = zoo_fields(
        options.zoo, models=options.models, references=options.references, n_steps=options.steps
    )
    fields = dict(sorted(fields.items()))
    exact = pairwise_distances(list(fields.values()))
    table = Table(options.output)
    with tempfile.TemporaryDirectory() as temporary:
        folders: dict[Storage, Path] = {
            "float32": Path(temporary, "float32"),
            "float16_scaled": Path(temporary, "float16_scaled"),
        }
        writing = median_seconds(
            {s: lambda s=s: write_stores(folders[s], fields, references, s) for s in folders},
            repeats=options.repeats,
        )
        reading = median_seconds(
            {s: lambda s=s: read(folders[s]) for s in folders}, repeats=options.repeats
        )
        numbers = sum(field.numel() for field in fields.values())
        for storage, folder in folders.items():
            error = (pairwise_distances(read(folder)) - exact).abs()
            size = sum(path.stat().st_size for path in folder.iterdir())
            table.add(
                {
                    "storage": storage,
                    "models": len(fields),
                    "shape": "×".join(map(str, next(iter(fields.values())).shape)),
                    "bytes_a_number": f"{size / numbers:.3f}",
                    "write_mb_a_second": f"{4e-6 * numbers / writing[storage]:.0f}",
                    "read_mb_a_second": f"{4e-6 * numbers / reading[storage]:.0f}",
                    "largest_distance_error": f"{error.max():.1e}",
                    "mean_distance_error": f"{error.mean():.1e}",
                    "repeats": options.repeats,
                }
            )


if __name__ == "__main__":
    main()
