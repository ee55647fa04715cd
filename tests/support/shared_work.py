"""Work for several processes, found by its module and name: the fields of small networks."""

import os
import signal
from pathlib import Path

import torch
from torch import nn

from modelgif.storage.field_writer import FieldWriter
from modelgif.zoo.extract import extract

NAMES = ("a", "b", "c", "d")


def network(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(ord(name))
        layers = (nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        return nn.Sequential(*layers)


def describe(folder: Path, name: str) -> None:
    """Extracts one field and notes by whom."""
    references = torch.rand(5, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    done = extract({name: network(name)}, references, folder / "fields", n_steps=4, progress=False)
    done.raise_for_failures()
    note = folder / "notes" / f"{name}-{os.getpid()}"
    note.parent.mkdir(exist_ok=True)
    note.write_text(f"{torch.get_num_threads()} {len(done.skipped)}")


def describe_or_die(folder: Path, name: str) -> None:
    """The same, but the first process that describes ``b`` dies with half a store written."""
    died = folder / "died"
    if name == "b" and not died.exists():

        def die(*_: object) -> None:
            died.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)

        FieldWriter.finish = die
    describe(folder, name)


def fail(folder: Path, name: str) -> None:
    """Fails for ``b``."""
    if name == "b":
        raise ValueError(f"no {name}")
    (folder / name).write_text("done")


def fields(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "fields").glob("*.h5")}
