"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    Readers therefore see the old file, no file or the whole new file, never a part of it. When the
    block raises, the temporary file is removed and `path` is left as it was. A process killed
    inside the block leaves only a `*.part` file, which the next writer of `path` replaces.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8 to `path`, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    # The rename itself must survive a power cut, so the folder's entry is flushed too.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
