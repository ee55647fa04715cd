"""A file for HDF5 to write to, which survives a full disk."""

import io
from pathlib import Path


class SteadyFile(io.RawIOBase):
    """A new file that keeps its first error to itself, and swallows all writes after it.

    When a write fails, HDF5 cannot close the file any more, and ends the process instead. So it is
    told that all is well, and whoever writes the file asks for the error.

    Attributes:
        error: why the file is not whole, or None.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("w+b", buffering=0)
        self.error: OSError | None = None

    def raise_error(self) -> None:
        """Raises the first error, if there was one."""
        if self.error is not None:
            raise self.error

    def write(self, content: object, /) -> int:
        """Writes all of `content`, or notes the error."""
        view = memoryview(content).cast("B")  # pyright: ignore[reportArgumentType]
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += self._file.write(view[done:]) or 0
            except OSError as error:
                self.error = error
        if self.error is not None:
            # Where the rest would have stood; a position beyond the end is allowed.
            self._file.seek(len(view) - done, io.SEEK_CUR)
        return len(view)

    def readinto(self, buffer: object, /) -> int:
        """Reads into `buffer`; what was swallowed is read as zeros."""
        view = memoryview(buffer).cast("B")  # pyright: ignore[reportArgumentType]
        count = 0
        while part := self._file.readinto(view[count:]):
            count += part
        if self.error is not None:
            view[count:] = bytes(len(view) - count)
            return len(view)
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Moves to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Returns the position."""
        return self._file.tell()

    def truncate(self, size: int | None = None, /) -> int:
        """Cuts or extends the file, or notes the error."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Returns true."""
        return True

    def writable(self) -> bool:
        """Returns true."""
        return True

    def seekable(self) -> bool:
        """Returns true."""
        return True
