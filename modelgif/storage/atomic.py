"""Files that are written whole or not at all."""

import errno
import hashlib
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Processes of several machines may share a folder, and a number may be taken on each.
_MACHINE = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


class DiskFullError(OSError):
    """A file that could not be written: the disk, a quota, or a limit on files was reached."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it is flushed to disk and renamed to `path`.

    Readers therefore see the old file, no file or the whole new file, never a part of it. When the
    block raises, the temporary file is removed and `path` is left as it was. Each process has a
    temporary file of its own, so that two may write the same path: the last rename stays. A process
    killed inside the block leaves only a `*.part` file, which the next writer of `path` on the same
    machine removes.

    Raises:
        DiskFullError: when there is no room, whatever the block's writer made of it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{_MACHINE}-{os.getpid()}.part")
    part.unlink(missing_ok=True)
    _remove_parts_of_the_dead(path)
    try:
        with full_disk_named(path):
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def full_disk_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns any error that comes from a lack of room into one that names the file to be written.

    Raises:
        DiskFullError: with the way out.
    """
    try:
        yield
    except Exception as error:
        number = _no_room(error)
        if number is None:
            raise
        raise DiskFullError(
            number,
            f"{os.strerror(number)}: it could not be written. What was there before is untouched. "
            "Make room, and run the same command again",
            str(path),
        ) from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8 to `path`, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _remove_parts_of_the_dead(path: Path) -> None:
    own = re.compile(rf"{re.escape(path.name)}\.{_MACHINE}-(\d+)\.part")
    for name in os.listdir(path.parent):
        match = own.fullmatch(name)
        if match and not _lives(int(match[1])):
            (path.parent / name).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # It belongs to another user.
        pass
    return True


def _sync_folder(folder: Path) -> None:
    # The rename itself must survive a power cut, so the folder's entry is flushed too.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_room(error: BaseException | None) -> int | None:
    """The number of the system's error, if `error` comes from one that means that there is no room.

    Libraries in other languages have it in their text alone: "os error 28", "errno = 28".
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return error.errno
        for number in re.findall(r"(?:os error|errno =) (\d+)", str(error)):
            if int(number) in _NO_ROOM:
                return int(number)
        error = error.__cause__ or error.__context__
    return None
