"""Kills runs at every point where a file is written, and starts them again.

    python -m tests.support.kill_matrix           # some 60 points, in under two minutes
    python -m tests.support.kill_matrix --all     # every point, and the counts for docs/security.md

A run is undisturbed once, which tells the points: before each block of work, at each write of HDF5,
and around each flush and rename. Then it is killed with SIGKILL at a point, and once more with the
file that was being written cut in two, as a full cache may leave it. What is visible then must be a
version that the undisturbed run has published as a whole. Started again, the run must end in the
same files, byte by byte.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from modelgif.experiment.training import Trainer
from modelgif.sketches.index import SketchIndex
from modelgif.storage.field_writer import FieldWriter
from modelgif.storage.hdf5_file import SteadyFile
from tests.support.kill_scenarios import SCENARIOS
from tests.support.trust_counts import counted, flips_held, refusals, write_counts

# Locks, and files that only grow, of which index.json says how much counts.
UNPUBLISHED = ("lock", "values.bin", "names.txt")


@dataclass(frozen=True)
class Point:
    """Where to kill: at the `number`-th event, which is a `place`; `torn` cuts the file first."""

    number: int
    place: str
    torn: bool = False


@dataclass
class Watch:
    """Counts the events of this process, and ends it at one of them."""

    point: Point | None
    places: list[str] = field(default_factory=list)
    published: list[tuple[str, str]] = field(default_factory=list)

    def event(self, place: str, path: Path | None = None) -> None:
        self.places.append(place)
        if self.point is not None and len(self.places) == self.point.number:
            if self.point.torn and path is not None:
                os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Puts events around what this process writes; it is never undone."""
        fsync, replace = os.fsync, os.replace

        def watched_fsync(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            what = "folder" if path.is_dir() else "file"
            self.event(f"before flushing a {what}", path if is_part(path) else None)
            fsync(descriptor)
            self.event(f"after flushing a {what}")

        def watched_replace(source: Any, target: Any) -> None:
            self.published.append((str(target), digest(Path(source))))
            self.event("before renaming")
            replace(source, target)
            self.event("after renaming")

        os.fsync, os.replace = watched_fsync, watched_replace
        self._before(SteadyFile, "write", "in a store")
        self._before(FieldWriter, "append", "before a block of a store")
        self._before(Trainer, "epoch", "before an epoch")

    def _before(self, owner: type, name: str, place: str) -> None:
        method = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            self.event(place)
            return method(*arguments, **options)

        setattr(owner, name, watched)


def run(
    scenario: Callable[[Path], None], folder: Path, point: Point | None = None
) -> dict[str, Any] | None:
    """Runs in a process of its own; returns its events, or None when it was killed at `point`.

    Raises:
        RuntimeError: when it ends in any other way.
    """
    told = folder.with_suffix(".json")
    told.unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        status = 1
        try:
            watch = Watch(point)
            watch.install()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            scenario(folder)
            told.write_text(json.dumps({"places": watch.places, "published": watch.published}))
            status = 0
        except BaseException:
            told.write_text(json.dumps({"error": traceback.format_exc()}))
        finally:
            os._exit(status)
    _, status = os.waitpid(process, 0)
    if point is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    answer = json.loads(told.read_text()) if told.exists() else {"error": f"status {status}"}
    if "error" in answer or point is not None:
        raise RuntimeError(answer.get("error", f"it was not killed at {point}"))
    return answer


def points(places: list[str]) -> Iterator[Point]:
    """Every point of a run with these events."""
    for number, place in enumerate(places, start=1):
        yield Point(number, place)
        if place == "before flushing a file":
            yield Point(number, "file cut in two", torn=True)


def contents(folder: Path) -> dict[str, str]:
    """The digest of every visible file, by its path in the folder."""
    return {
        str(path.relative_to(folder)): digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not is_part(path)
    }


def is_part(path: Path) -> bool:
    """Whether it is the temporary file of a writer."""
    return ".part" in path.name


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def survives(
    scenario: Callable[[Path], None],
    folder: Path,
    point: Point,
    whole: dict[str, str],
    published: set[tuple[str, str]],
) -> str | None:
    """Kills and restarts; returns what is wrong, or None.

    Args:
        scenario: what is run.
        folder: a new one.
        point: where.
        whole: what an undisturbed run leaves, see `contents`.
        published: every version of each file that it renamed into place.
    """
    folder.mkdir(parents=True)
    run(scenario, folder, point)
    for name, found in contents(folder).items():
        if Path(name).name not in UNPUBLISHED and (name, found) not in published:
            return f"{name} is visible, and no whole version of it"
    if (folder / "index").exists():
        SketchIndex(folder / "index")
    run(scenario, folder)
    after = contents(folder)
    different = sorted(name for name in after | whole if after.get(name) != whole.get(name))
    return f"other bytes in {', '.join(different)}" if different else None


def matrix(
    folder: Path,
    most: int | None = None,
    seed: int = 0,
    scenarios: Mapping[str, Callable[[Path], None]] = SCENARIOS,
) -> Iterator[dict[str, Any]]:
    """Gives one row a kill: its ``scenario``, its ``place``, and what is ``wrong`` or None.

    Args:
        folder: for files.
        most: how many kills a scenario, drawn so that every place has some; None for all.
        seed: of the draw.
        scenarios: what is run, by name.
    """
    torch.set_num_threads(1)
    draw, tried = random.Random(seed), Counter[str]()
    for name, scenario in scenarios.items():
        undisturbed = folder / name / "undisturbed"
        undisturbed.mkdir(parents=True)
        answer = run(scenario, undisturbed)
        assert answer is not None
        whole = contents(undisturbed)
        published = {
            (str(Path(path).relative_to(undisturbed)), found) for path, found in answer["published"]
        }
        chosen = list(points(answer["places"]))
        if most is not None:
            chosen = _drawn(chosen, most, draw, tried)
        for number, point in enumerate(chosen):
            here = folder / name / str(number)
            try:
                wrong = survives(scenario, here, point, whole, published)
            except (RuntimeError, ValueError) as error:
                wrong = str(error)
            shutil.rmtree(here)
            yield {"scenario": name, "place": point.place, "number": point.number, "wrong": wrong}


def _drawn(chosen: list[Point], most: int, draw: random.Random, tried: Counter[str]) -> list[Point]:
    """At most so many points, in turn from each place, those seldom tried and rare ones first."""
    by_place: dict[str, list[Point]] = {}
    for point in draw.sample(chosen, len(chosen)):
        by_place.setdefault(point.place, []).append(point)
    groups = sorted(by_place.items(), key=lambda entry: (tried[entry[0]], len(entry[1])))
    turns = [group[turn] for turn in range(len(chosen)) for _, group in groups if turn < len(group)]
    tried.update(point.place for point in turns[:most])
    return turns[:most]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--all",
        action="store_true",
        help="every point; and hostile files and flipped bytes, for the counts in docs/security.md",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the points drawn without --all")
    options = parser.parse_args()
    kills: list[tuple[str, bool]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in matrix(Path(folder, "kills"), None if options.all else 12, options.seed):
            kills.append((f"{row['scenario']}, {row['place']}", row["wrong"] is None))
            if row["wrong"] is not None:
                print(f"{row['scenario']}, {row['place']} {row['number']}: {row['wrong']}")
        by_scenario = counted((name.partition(",")[0], held) for name, held in kills)
        for scenario, (tried, held) in by_scenario.items():
            print(f"{scenario}: killed {tried} times, {held} times to the same bytes")
        sound = all(held for _, held in kills)
        if options.all:
            found = {
                "kills survived": counted(kills),
                "files refused": refusals(Path(folder, "hostile")),
                "flips seen or harmless": flips_held(Path(folder, "flips")),
            }
            write_counts(found)
            sound &= all(
                tried == held for counts in found.values() for tried, held in counts.values()
            )
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
