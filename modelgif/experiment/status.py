"""What of a run is done, what is missing, and what workers hold."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelgif.experiment.claims import Claim, claims_in

# Names listed of what is missing, held or unfinished; the rest is counted.
_SHOWN = 5


@dataclass(frozen=True)
class StageStatus:
    """How far one stage of a run is.

    Attributes:
        name: of the stage.
        finished: when it last succeeded, or None.
        seconds: how long the run that did the work took.
        made: which of the files it makes are there.
        missing: which are not.
        claims: of the workers that share it, see `modelgif.experiment.claims`.
    """

    name: str
    finished: str | None
    seconds: float
    made: tuple[Path, ...]
    missing: tuple[Path, ...]
    claims: tuple[Claim, ...]


def stage_names(testbed: str) -> list[str]:
    """Returns a testbed's stages in their order: its modules that begin with ``Stage NUMBER:``."""
    package = importlib.import_module(testbed)
    found = []
    for module in pkgutil.iter_modules(package.__path__):
        source = Path(module.module_finder.path, f"{module.name}.py")  # type: ignore[union-attr]
        if source.is_file():
            text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
            if number := re.match(r"Stage (\d+):", text):
                found.append((int(number[1]), module.name))
    return [name for _, name in sorted(found)]


def stages_of(run: Any) -> list[StageStatus]:
    """Returns how far each stage of a run is.

    A stage's files are what the function ``files`` of its module returns for the run. Files are
    looked for, and not read: a stage that runs also makes again what is damaged.

    Args:
        run: a `modelgif.experiment.run.Run`, whose folder need not exist.
    """
    known = run.conditions()["stages"]
    return [_stage(run, name, known.get(name, {})) for name in stage_names(run.testbed)]


def _stage(run: Any, name: str, known: Mapping[str, Any]) -> StageStatus:
    module = importlib.import_module(f"{run.testbed}.{name}")
    files = [Path(path) for path in module.files(run)] if hasattr(module, "files") else []
    return StageStatus(
        name,
        known.get("finished"),
        known.get("seconds", 0.0),
        tuple(path for path in files if path.is_file()),
        tuple(path for path in files if not path.is_file()),
        tuple(claims_in(run.folder / "claims" / name)),
    )


def status_text(run: Any) -> str:
    """Returns how far a run is, one line per stage, and under it what is missing or held."""
    there = "" if run.folder.is_dir() else " (does not exist yet)"
    lines = [f"{run.folder}{there}"]
    for stage in stages_of(run):
        lines.append(f"{stage.name}: {'; '.join(_sentences(stage))}")
        missing = [_short(path, run.folder) for path in stage.missing]
        lines += _listed("missing", missing if stage.made or stage.claims else [])
        lines += _listed("held", [claim.label for claim in stage.claims if claim.held])
        unfinished = [c.label for c in stage.claims if not c.held and not c.done]
        lines += _listed("begun and not finished", unfinished)
    parts = sorted(_short(path, run.folder) for path in run.folder.rglob("*.part"))
    lines += _listed("being written, or left by a process that was killed", parts)
    return "\n".join(lines) + "\n"


def _sentences(stage: StageStatus) -> Iterator[str]:
    count = len(stage.made) + len(stage.missing)
    held = sum(claim.held for claim in stage.claims)
    if held:
        yield f"running, {held} held by workers"
    elif stage.missing and stage.finished:
        yield f"finished {stage.finished}, but files are missing"
    elif stage.finished:
        yield f"done {stage.finished}, {stage.seconds:.0f} s"
    else:
        yield "not finished" if stage.made or stage.claims else "not begun"
    if count:
        yield f"{len(stage.made)} of {count} files"


def _listed(title: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"    {title}: {', '.join(names[:_SHOWN])}{more}"]


def _short(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
