"""Results that several tests read, made by one process of the test run and read by all."""

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MadeOnce:
    """Makes folders below `shared` once, and copies them below `own`.

    Args:
        shared: a folder of all processes of a test run.
        own: a folder of this process.
    """

    shared: Path
    own: Path

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """Returns this process's copy, which tests may change, of what `make` left in a folder.

        The first process to ask makes it while the others wait. One that fails leaves it to the
        next.
        """
        copy = self.own / name
        if copy.exists():
            return copy
        original, finished = self.shared / name, self.shared / f"{name}.finished"
        self.shared.mkdir(parents=True, exist_ok=True)
        with (self.shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(original, ignore_errors=True)
                original.mkdir()
                make(original)
                finished.write_text(f"{os.getpid()}")
        shutil.copytree(original, copy, symlinks=True)
        return copy
