"""Every kind of file that is read back, and what a reader makes of one flipped byte in it."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from modelgif.distances.pairs import PairSums
from modelgif.experiment.record import Record, read_records, write_records
from modelgif.experiment.sealed_csv import read_sealed_csv, write_sealed_csv
from modelgif.experiment.training import read_snapshot, write_snapshot
from modelgif.loading.checkpoint import read_checkpoint, write_checkpoint
from modelgif.references.file import read_references, write_references
from modelgif.references.references import References
from modelgif.sketches.file import read_sketch, write_sketch
from modelgif.sketches.index import SketchIndex
from modelgif.sketches.sketch import Sketch
from modelgif.storage.field_store import FieldStore, Storage
from modelgif.zoo.stream_checkpoint import StreamCheckpoint
from tests.support.hostile_stores import HEADER

NAMES = ["a", "b"]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        write: writes sound files into a folder; every one is damaged in turn.
        read: gives all that they hold, or raises a ValueError.
        says: a regular expression of the way out in every message.
        without_effect: names of files whose content nobody reads.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    says: str
    without_effect: tuple[str, ...] = ()


class Flip(NamedTuple):
    """One damaged byte, and what became of it: ``seen``, ``without effect``, or a fault."""

    name: str
    position: int
    mask: int
    outcome: str

    @property
    def held(self) -> bool:
        return self.outcome in ("seen", "without effect")


def flips(folder: Path, kind: Kind, count: int | None, seed: int = 0) -> Iterator[Flip]:
    """Damages single bytes in files of a kind, one at a time.

    Args:
        folder: for the files; empty.
        kind: of them.
        count: how many bytes over all files, drawn with the bits that are turned; None for every
            byte once.
        seed: of the draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind.write(folder)
    whole = _plain(kind.read(folder))
    files = [
        (path, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in kind.without_effect
    ]
    places = [(path, at) for path, content in files for at in range(len(content))]
    draw = random.Random(seed)
    content = dict(files)
    for path, position in places if count is None else draw.sample(places, min(count, len(places))):
        # One bit is the slightest damage: text often stays text.
        mask = 1 << draw.randrange(8) if draw.random() < 0.5 else draw.randrange(1, 256)
        damaged = bytearray(content[path])
        damaged[position] ^= mask
        path.write_bytes(damaged)
        yield Flip(path.name, position, mask, _outcome(kind, path, folder, whole))
        path.write_bytes(content[path])


def _outcome(kind: Kind, path: Path, folder: Path, whole: object) -> str:
    try:
        found = kind.read(folder)
    except ValueError as error:
        message = str(error)
        named = path.stem in message or str(folder) in message
        if named and re.search(kind.says, message):
            return "seen"
        return f"a message without the file or the way out: {message}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "without effect" if _plain(found) == whole else "read as if it were sound"


def _plain(value: Any) -> Any:
    """A value whose parts can be compared with ``==``; numbers by their bits."""
    if isinstance(value, Tensor):
        return str(value.dtype), list(value.shape), value.numpy().tobytes()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, pd.DataFrame):
        return value.to_csv()
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _write_store(storage: Storage) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        header = replace(HEADER, storage=storage)
        path = folder / "model.h5"
        with FieldStore.create(path, header, [f"r{i}" for i in range(4)], (2, 5)) as writer:
            writer.append(torch.randn(4, 3, 2, 5, generator=_generator()))

    return write


def _read_store(folder: Path) -> object:
    with FieldStore(folder / "model.h5") as store:
        store.verify()
        return asdict(store.header), store.reference_ids, store[:]


def _write_checkpoint(folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    card = {
        "architecture": "python:a.b:c?width=2",
        "preprocessing": {"mean": [0.5], "std": [0.25]},
        "recipe": "fine-tuned",
        "parent": None,
        "accuracy": 0.875,
    }
    write_checkpoint(folder / "model.safetensors", network, card)


def _write_snapshot(folder: Path) -> None:
    state = {"a": torch.randn(7, generator=_generator()), "epochs_done": 3, "order": [2, 0, 1]}
    write_snapshot(folder / "model.pt", state)


def _write_references(folder: Path) -> None:
    images = torch.rand(3, 1, 4, 4, generator=_generator())
    write_references(folder / "references.safetensors", References(images, ("a", "b", "ü")))


def _read_references(folder: Path) -> object:
    found = read_references(folder / "references.safetensors")
    return found.images, list(found.ids)


def _sketch(seed: int) -> Sketch:
    values = torch.randn(64, generator=_generator().manual_seed(seed))
    return Sketch(field=HEADER, values=values, size=64, seed=0, number_format="float32")


def _read_sketch(folder: Path) -> object:
    return asdict(read_sketch(folder / "model.sketch"))


def _write_index(folder: Path) -> None:
    index = SketchIndex(folder)
    index.add({"a": _sketch(1)})
    index.add({"b": _sketch(2), "ü": _sketch(3)})


def _read_index(folder: Path) -> object:
    index = SketchIndex(folder)
    nearest = index.search(_sketch(1), k=3)
    return index.names, index.values(slice(None)), nearest.names, nearest.distances


def _stream(folder: Path) -> StreamCheckpoint:
    return StreamCheckpoint(folder / "sums.safetensors", {"names": NAMES, "n_steps": 3})


def _write_stream(folder: Path) -> None:
    sums = PairSums(NAMES, metric="cosine")
    sums.add(list(torch.randn(2, 4, 3, 5, generator=_generator())))
    _stream(folder).write(sums, {"pairs": [torch.rand(2, 2, 4, generator=_generator())]})


def _read_stream(folder: Path) -> object:
    sums, kept = PairSums(NAMES, metric="cosine"), {"pairs": []}
    _stream(folder).restore(sums, kept)
    return sums.total, sums.zeros, sums.n_references, kept


def _write_records(folder: Path) -> None:
    write_records(
        folder / "records.csv",
        [
            Record("t", "small-0012e5", "modelgif", name, "auc", value, 40, 0.01, 0, "12ab")
            for name, value in [("pruned", 0.987654321), ("with, comma", 0.5), ("ü", 1e-7)]
        ],
    )


def _write_roster(folder: Path) -> None:
    frame = pd.DataFrame({"model": ["victim", "pruned"], "accuracy": [0.91, 0.8765]})
    write_sealed_csv(folder / "roster.csv", frame)


KINDS = {
    "store": Kind(_write_store("float32"), _read_store, "extract it again"),
    "store in half precision": Kind(
        _write_store("float16_scaled"), _read_store, "extract it again"
    ),
    "checkpoint and card": Kind(
        _write_checkpoint,
        lambda folder: read_checkpoint(folder / "model.safetensors"),
        r"make (it|it and \S+|the checkpoint) again",
    ),
    "snapshot of a training": Kind(
        _write_snapshot, lambda folder: read_snapshot(folder / "model.pt"), "move it away"
    ),
    "references": Kind(_write_references, _read_references, "make it again|write_references"),
    "sketch": Kind(
        lambda folder: write_sketch(folder / "model.sketch", _sketch(1)),
        _read_sketch,
        "make it again",
    ),
    "index": Kind(_write_index, _read_index, "again from the sketches", ("lock",)),
    "sums of a stream": Kind(_write_stream, _read_stream, "Move it away to begin anew"),
    "records": Kind(
        _write_records,
        lambda folder: read_records(folder / "records.csv"),
        "Make it again with the stage",
    ),
    "roster": Kind(
        _write_roster,
        lambda folder: read_sealed_csv(folder / "roster.csv"),
        "Make it again with the stage",
    ),
}
