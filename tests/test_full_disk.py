"""A full disk: a named error, nothing half written, and the same command again once there is room.

Each writer runs in a process of its own, on a small file system of its own where this is allowed,
and otherwise under a limit on the size of files, which fails at the same place in another way.
"""

import errno
import multiprocessing
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelgif.storage.atomic import DiskFullError, whole_file
from tests.support.full_disk_writers import WRITERS, write_here

pytestmark = pytest.mark.slow

ROOM = 24 * 1024
# Its processes are forked from one that has imported everything, and nothing else.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.full_disk_writers"])


def write(folder: Path, name: str, size: int, limit: int = 0) -> dict[str, Any]:
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=write_here, args=(folder, name, size, limit, there))
    process.start()
    found = here.recv() if here.poll(60) else None
    process.join()
    # HDF5 ends a process that it cannot close its file in.
    assert process.exitcode == 0
    assert found is not None
    return found


@pytest.fixture(params=["small file system", "limit on files"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A folder with little room, and the limit to set there, 0 for none."""
    if request.param == "limit on files":
        yield tmp_path, ROOM
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield tmp_path, 0
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "half a store"])
def test_no_room_is_named_and_nothing_is_left(name: str, room: tuple[Path, int]) -> None:
    folder, limit = room
    found = write(folder, name, 4 * ROOM, limit)
    assert found["error"] is not None
    classes, message = found["error"]
    assert "DiskFullError" in classes, f"{classes[0]}: {message}"
    assert str(folder) in message
    assert "Make room, and run the same command again" in message
    # Of a checkpoint, the weights may be there: it is complete with its card. Of an index, what
    # index.json does not count.
    left = {path for path in found["there"] if path.endswith(".part")}
    whole = {"card": {"x.safetensors"}, "index": {"index", "index/lock", "index/values.bin"}}
    assert left == set()
    assert set(found["there"]) <= whole.get(name, set())


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "half a store"])
def test_once_there_is_room_the_same_command_succeeds(name: str, tmp_path: Path) -> None:
    hindered, unhindered = tmp_path / "hindered", tmp_path / "unhindered"
    for folder in (hindered, unhindered):
        folder.mkdir()
    assert write(hindered, name, 2 * ROOM, limit=ROOM)["error"] is not None
    for folder in (hindered, unhindered):
        assert write(folder, name, 2 * ROOM)["error"] is None
    written = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (hindered, unhindered)
    ]
    assert written[0]
    assert written[0] == written[1]


def test_what_was_there_stays(tmp_path: Path) -> None:
    assert write(tmp_path, "store", ROOM // 4)["error"] is None
    before = (tmp_path / "x.h5").read_bytes()
    assert write(tmp_path, "store", 4 * ROOM, limit=ROOM)["error"] is not None
    assert (tmp_path / "x.h5").read_bytes() == before


def test_a_full_disk_is_noticed_before_the_last_block(tmp_path: Path) -> None:
    found = write(tmp_path, "half a store", 8 * ROOM, limit=ROOM)
    assert "DiskFullError" in found["error"][0]


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output") as error, whole_file(tmp_path / "x"):
        raise OSError(errno.EIO, "Input/output error")
    assert not isinstance(error.value, DiskFullError)
    with pytest.raises(ValueError, match="os error 5"), whole_file(tmp_path / "x"):
        raise ValueError("something (os error 5)")
