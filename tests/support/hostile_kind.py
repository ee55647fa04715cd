"""What a hostile file is, and what reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelgif.data.image_folder import read_image
from modelgif.experiment.config import FieldConfig, load_config
from modelgif.experiment.record import read_records
from modelgif.experiment.training import read_snapshot
from modelgif.loading.load import load_model
from modelgif.loading.state_dict import read_state_dict
from modelgif.references.file import read_references
from modelgif.storage.field_store import FieldStore
from modelgif.storage.tensor_file import read_sealed

Maker = Callable[[Path, Path], Path]


def _read_store(path: Path) -> None:
    with FieldStore(path) as store:
        store.verify()


READERS: dict[str, Callable[[Path], object]] = {
    "weights": read_state_dict,
    "model": lambda path: load_model(f"file:{path}"),
    "export": lambda path: load_model(f"export:{path}"),
    "snapshot": read_snapshot,
    "store": _read_store,
    "references": read_references,
    "sealed": lambda path: read_sealed(path, "sketch"),
    "config": lambda path: load_config(FieldConfig, path),
    "records": read_records,
    "image": lambda path: read_image(path, 8),
}


@dataclass(frozen=True)
class Hostile:
    """A hostile file.

    Attributes:
        name: of it.
        reader: which of `READERS` must refuse it.
        says: a regular expression of the reason in the message.
        make: makes it in a folder, and returns its path; code in it makes the second path.
        ignite: loads it incautiously, where it holds code.
    """

    name: str
    reader: str
    says: str
    make: Maker
    ignite: Callable[[Path], None] | None = None
