"""Files that a hostile model owner might hand over, and the readers that must refuse them.

    python -m tests.support.hostile_files FOLDER [NAME ...]

makes every file in FOLDER, reads it, and prints one line of JSON for each. Files that hold code are
also loaded incautiously, which shows that the code is live.
"""

import json
import resource
import sys
import time
import warnings
from pathlib import Path

import torch

from tests.support.hostile_cards import hostile_cards
from tests.support.hostile_kind import READERS, Hostile
from tests.support.hostile_stores import hostile_stores
from tests.support.hostile_texts import hostile_texts
from tests.support.hostile_weights import hostile_weights

# Spares the machine when a bomb goes off; far above what is allowed.
_MOST_MEMORY = 6 * 2**30


def hostile_files() -> list[Hostile]:
    """Every hostile file."""
    return [*hostile_weights(), *hostile_cards(), *hostile_stores(), *hostile_texts()]


def outcome(hostile: Hostile, folder: Path) -> dict[str, object]:
    """Makes the file and reads it.

    Returns:
        the file's ``name`` and ``path``; the ``error`` by which it was refused, its ``message``
        and all its classes, or None; the processor's ``seconds`` and the ``growth`` of the largest
        resident memory in bytes that reading took; whether code in it ``ran``; whether the code is
        ``live``, None for a file without.
    """
    folder.mkdir(parents=True)
    mark = folder / "mark"
    path = hostile.make(folder, mark)
    Path("/proc/self/clear_refs").write_text("5")
    before, started = _memory("VmRSS"), time.process_time()
    try:
        READERS[hostile.reader](path)
        error, message = None, ""
    except Exception as refusal:
        error = [cls.__name__ for cls in type(refusal).__mro__]
        message = str(refusal)
    found: dict[str, object] = {
        "name": hostile.name,
        "path": str(path),
        "error": error,
        "message": message,
        "seconds": time.process_time() - started,
        "growth": _memory("VmHWM") - before,
        "ran": mark.exists(),
        "live": None,
    }
    if hostile.ignite is not None:
        (folder / "live").mkdir()
        mark = folder / "live" / "mark"
        path = hostile.make(folder / "live", mark)
        try:
            hostile.ignite(path)
        except Exception as error:
            found["ignition"] = str(error)[:200]
        found["live"] = mark.exists()
    return found


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def main() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    wanted = sys.argv[2:]
    for hostile in hostile_files():
        if not wanted or hostile.name in wanted:
            print(json.dumps(outcome(hostile, Path(sys.argv[1], hostile.name))), flush=True)


if __name__ == "__main__":
    main()
