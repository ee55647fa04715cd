"""Results that several tests read, made by one process of the test run and read by all."""

import fcntl
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MadeOnce:
    """Makes folders below `shared`, which all processes of a test run have, once.

    Results stay where they were made, because field stores name their models by path. Tests only
    read them: one that changes something works on a copy of its own.
    """

    shared: Path

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """Returns the folder `name`, which `make` has filled.

        The first process to ask makes it while the others wait. One that fails leaves it to the
        next.
        """
        folder, finished = self.shared / name, self.shared / f"{name}.finished"
        self.shared.mkdir(parents=True, exist_ok=True)
        with (self.shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                finished.touch()
        return folder
