"""Run folders: one folder per configuration, filled stage by stage."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from modelgif.experiment.claims import Claims
from modelgif.experiment.config import (
    Config,
    ConfigError,
    config_hash,
    dump_config,
    load_config,
)
from modelgif.experiment.explain import explain
from modelgif.experiment.launch import LAUNCHERS, Launch, launching, parse_shard
from modelgif.experiment.record import Measurement, Record, machine
from modelgif.experiment.status import status_text
from modelgif.storage.atomic import write_text
from modelgif.storage.versions import versions

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Run(Generic[C]):
    """One configuration of a testbed and the folder of its results.

    Attributes:
        testbed: name of the testbed's package.
        name: name of the configuration's file, without its ending.
        config: the resolved configuration.
        folder: ``ROOT/<testbed>/<name>-<hash>``, so that other settings have another folder.
    """

    testbed: str
    name: str
    config: C
    folder: Path

    @property
    def label(self) -> str:
        """The configuration's name and hash, as records carry it."""
        return self.folder.name

    def conditions(self) -> dict[str, Any]:
        """Returns what ``run.json`` says: commit, versions, machine, seconds per stage."""
        path = self.folder / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"stages": {}}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Notes the commit, the machine and how long the stage took, once it has succeeded.

        A stage that found its work done keeps the time of the run that did it, if that was longer.
        """
        started = time.monotonic()
        yield
        seconds = round(time.monotonic() - started, 1)
        conditions = self.conditions()
        before = conditions["stages"].get(name, {"seconds": 0.0})
        if seconds >= before["seconds"]:
            conditions["stages"][name] = {
                "seconds": seconds,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        conditions |= {
            "testbed": self.testbed,
            "config": self.label,
            "commit": commit(),
            "machine": machine(),
            "versions": versions(),
        }
        write_text(
            self.folder / "run.json", json.dumps(conditions, indent=2, sort_keys=True) + "\n"
        )


def open_run(config: C, *, testbed: str, name: str, root: str | Path = "runs") -> Run[C]:
    """Returns the run of `config`, its folder made and the resolved configuration saved in it."""
    run = find_run(config, testbed=testbed, name=name, root=root)
    run.folder.mkdir(parents=True, exist_ok=True)
    resolved = run.folder / "config.yaml"
    if not resolved.exists():
        dump_config(config, resolved)
    return run


def find_run(config: C, *, testbed: str, name: str, root: str | Path = "runs") -> Run[C]:
    """Returns the run of `config`; nothing is written, and its folder need not exist."""
    return Run(testbed, name, config, Path(root) / testbed / f"{name}-{config_hash(config)}")


def run_stage(
    stage: Callable[[Run[C]], None],
    config_class: type[C],
    *,
    testbed: str,
    makes_results: bool = True,
    arguments: Sequence[str] | None = None,
) -> None:
    """Runs one stage from the command line: ``CONFIG [--runs FOLDER] [key.subkey=value ...]``.

    ``--explain`` prints every key of the configuration, and ``--status`` what of the run is done,
    missing, or held by workers; neither runs or writes anything.
    ``--launcher ray`` does its work on a Ray cluster; ``--shard i/n`` makes this process one of n
    that share it, all on one run folder (docs/scale.md).

    A stage that only shows results leaves the conditions under which they were made untouched.
    A configuration that does not fit ends the process with its message and status 2.
    """
    name = stage.__name__
    parser = argparse.ArgumentParser(
        prog=f"python -m {testbed}.{name}", description=(stage.__doc__ or "").split("\n")[0]
    )
    parser.add_argument("config", type=Path, help="a YAML file, such as configs/demo.yaml")
    parser.add_argument("overrides", nargs="*", help="dotted settings, such as field.n_steps=20")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where results go")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local", help="who does the work")
    parser.add_argument("--shard", help="i/n: this is worker i of n on one run folder")
    parser.add_argument(
        "--explain", action="store_true", help="print every key of the configuration, and end"
    )
    parser.add_argument(
        "--status", action="store_true", help="print what is done, missing and held, and end"
    )
    options = parser.parse_intermixed_args(arguments)
    try:
        config = load_config(config_class, options.config, options.overrides)
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    if options.explain:
        print(explain(config), end="")
    if options.status:
        run = find_run(config, testbed=testbed, name=options.config.stem, root=options.runs)
        print(status_text(run), end="")
    if options.explain or options.status:
        return
    if options.shard and options.launcher != "local":
        parser.error("--shard and --launcher exclude each other: Ray has workers of its own")
    try:
        shard = parse_shard(options.shard) if options.shard else None
    except ValueError as error:
        parser.error(str(error))
    run = open_run(config, testbed=testbed, name=options.config.stem, root=options.runs)
    claims = None if shard is None else Claims(run.folder / "claims" / name, shard)
    noted = run.stage(name) if makes_results else nullcontext()
    with noted, launching(Launch(options.launcher, claims)):
        stage(run)


def to_records(run: Run[Any], found: Mapping[str, Iterable[Measurement]]) -> list[Record]:
    """Returns the measurements of each method as records of `run`, made by the present code."""
    now, seed = commit(), run.config.seed
    return [
        Record(run.testbed, run.label, method, seed=seed, commit=now, **measurement._asdict())
        for method, measurements in found.items()
        for measurement in measurements
    ]


def conditions_line(run: Run[Any]) -> str:
    """Returns one line of Markdown that says under which conditions a run's numbers were measured.

    Raises:
        ValueError: when no stage of the run has finished.
    """
    known = run.conditions()
    if not known["stages"]:
        raise ValueError(f"{run.folder} has no finished stage: run the stages first.")
    return conditions_text(known, run.config.seed)


def conditions_text(known: Mapping[str, Any], seed: int) -> str:
    """Returns the line of `conditions_line` for the content of a ``run.json``."""
    seconds = sum(stage["seconds"] for stage in known["stages"].values())
    days = {datetime.fromisoformat(s["finished"]).date() for s in known["stages"].values()}
    machine, versions = known["machine"], known["versions"]
    device = machine["cuda"] or f"{machine['cores']} {machine['processor']} CPU cores"
    return (
        f"*Configuration `{known['config']}`, seed {seed}, commit `{known['commit']}`, "
        f"{max(days)}, {device}, {seconds:.0f} s for all stages, torch {versions['torch']}, "
        f"Python {versions['python']}.*"
    )


def commit() -> str:
    """Returns the commit of the code, ``-dirty`` when files differ from it, or ``unknown``."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--match="]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
