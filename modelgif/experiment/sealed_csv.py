"""CSV files with a seal: their SHA-256 in a file beside them, which reveals damage.

The CSV stays one that every program reads, and ``sha256sum -c records.csv.sha256`` checks it, too.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pandas as pd

from modelgif.reporting.table import write_csv
from modelgif.storage.atomic import write_text


class SealError(ValueError):
    """A file that is not the one that was sealed."""


def write_sealed_csv(path: str | os.PathLike[str], frame: pd.DataFrame) -> None:
    """Writes `frame` to `path` as `modelgif.reporting.table.write_csv` does, and then its seal.

    A process killed between the two leaves a whole file without a seal.

    Raises:
        ValueError: when the index has a name, which means that it holds data.
    """
    path = Path(path)
    # An old seal must never stand beside a new file.
    _seal_of(path).unlink(missing_ok=True)
    write_csv(path, frame)
    write_text(_seal_of(path), f"{_sha256(path.read_bytes())}  {path.name}\n")


def read_sealed_csv(path: str | os.PathLike[str], **options: Any) -> pd.DataFrame:
    """Returns the frame at `path`, as `pandas.read_csv` reads it with these options.

    Raises:
        SealError: when the file is not the one that its seal is of.
    """
    return pd.read_csv(io.BytesIO(sealed_bytes(path)), **options)


def sealed_bytes(path: str | os.PathLike[str]) -> bytes:
    """Returns the content of the file at `path`, compared with its seal where it has one.

    Raises:
        SealError: when the file is not the one that its seal is of.
    """
    path = Path(path)
    content, seal = path.read_bytes(), _seal_of(path)
    if seal.exists():
        stated = seal.read_bytes()[:64]
        if stated != _sha256(content).encode():
            raise SealError(
                f"{path} is damaged, or was changed: it does not have the SHA-256 in {seal.name}. "
                "Make it again with the stage that wrote it; if you changed it on purpose, remove "
                f"{seal.name}."
            )
    return content


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
