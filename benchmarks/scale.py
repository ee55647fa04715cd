"""Times the extraction of a zoo by one and by two workers of one thread each.

    PYTHONPATH=. python benchmarks/scale.py --zoo FOLDER

prints one table and writes `benchmarks/results/scale.csv`. The models are those of a finished run
of intellectual_property_protection, by default the demo's, trained if need be. Each way extracts
all of them into a folder of its own and must end in the same bytes. Starting the workers is not
counted: it takes the same seconds for a small zoo and a large one.
"""

import argparse
import hashlib
import multiprocessing
import shutil
import statistics
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from measuring import Table, results
from trained_zoo import Zoo, open_zoo

from modelgif.experiment.claims import Claims
from modelgif.zoo.extract import extract

SPAWN = multiprocessing.get_context("spawn")


def work(paths: list[Path], folder: Path, zoo: Zoo, shard: tuple[int, int], ready: Barrier) -> None:
    """What one worker does: its share of the models, and what others leave."""
    torch.set_num_threads(1)

    def describe(path: Path) -> None:
        model = {path.stem: f"file:{path}"}
        done = extract(model, zoo.references, folder, baseline=zoo.baseline, progress=False)
        done.raise_for_failures()

    ready.wait()
    errors = Claims(folder / "claims", shard).share(describe, paths)
    if errors:
        ready.abort()
        raise ExceptionGroup("extract", errors)
    ready.wait()


def seconds(paths: list[Path], folder: Path, zoo: Zoo, workers: int) -> float:
    """Returns how long the workers take, from when all are ready to when all are done."""
    folder.mkdir(parents=True)
    ready = SPAWN.Barrier(workers + 1)
    processes = [
        SPAWN.Process(target=work, args=(paths, folder, zoo, (i, workers), ready))
        for i in range(workers)
    ]
    for process in processes:
        process.start()
    ready.wait()
    start = time.perf_counter()
    ready.wait()
    taken = time.perf_counter() - start
    for process in processes:
        process.join()
    return taken


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every store."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.h5")}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Times extraction by several workers.")
    parser.add_argument("--zoo", type=Path, help="the folder of a run; the demo's by default")
    parser.add_argument("--models", type=int, default=24, help="taken evenly from the zoo")
    parser.add_argument("--references", type=int, default=128)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=results("scale"))
    options = parser.parse_args()

    torch.set_num_threads(1)
    zoo = open_zoo(options.zoo, references=options.references)
    every = max(1, len(zoo.paths) // options.models)
    paths = zoo.paths[::every][: options.models]
    taken: dict[int, list[float]] = {workers: [] for workers in options.workers}
    made: dict[int, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.repeats):
            for workers in options.workers:
                target = Path(folder, f"{turn}-{workers}")
                taken[workers].append(seconds(paths, target, zoo, workers))
                made[workers] = digests(target)
                shutil.rmtree(target)
    table = Table(options.output)
    first = options.workers[0]
    for workers, each in taken.items():
        table.add(
            {
                "zoo": zoo.label,
                "workers": workers,
                "models": len(paths),
                "references": options.references,
                "seconds": f"{statistics.median(each):.2f}",
                "times_faster": f"{statistics.median(taken[first]) / statistics.median(each):.2f}",
                "same_files": str(len(made[first]) == len(paths) and made[workers] == made[first]),
                "repeats": options.repeats,
            }
        )


if __name__ == "__main__":
    main()
