"""Whether there is a file to read, or a folder, a device or a pipe in its place."""

import os
from pathlib import Path


def missing_file(path: str | os.PathLike[str]) -> str | None:
    """Returns None if `path` is a regular file or leads to one, and otherwise a note for the error.

    Devices and pipes can give bytes without end, or never give any. The note goes after the words
    that there is no such file: it is empty where there is nothing, and otherwise says that what is
    there is not a regular file.

    Example:
        >>> missing_file("no/such/file")
        ''
        >>> missing_file("/dev/null")
        ' (what is there is not a regular file)'
    """
    if Path(path).is_file():
        return None
    return " (what is there is not a regular file)" if os.path.lexists(path) else ""
