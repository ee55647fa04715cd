import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelgif.storage.atomic import whole_file, write_text


def test_writes_the_whole_text_into_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "notes.txt"
    write_text(path, "first\n")
    write_text(str(path), "zwölf ± 1\n")
    assert path.read_bytes() == "zwölf ± 1\n".encode()
    assert os.listdir(path.parent) == ["notes.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, error, old: str | None) -> None:
    path = tmp_path / "notes.txt"
    if old:
        path.write_text(old)
    with pytest.raises(error), whole_file(path) as part:
        part.write_text("half")
        raise error
    assert [file.read_text() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_nothing_is_at_the_path_before_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    with whole_file(path) as part:
        assert part.parent == path.parent
        part.write_text("half")
        assert not path.exists()
    assert path.read_text() == "half"


def test_a_block_that_writes_nothing_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "notes.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_only_a_part_which_the_next_writer_replaces(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    killed = (
        "import os, signal, sys\n"
        "from modelgif.storage.atomic import whole_file\n"
        "with whole_file(sys.argv[1]) as part:\n"
        "    part.write_text('a long half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", killed, str(path)])
    assert result.returncode == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    assert left.startswith("notes.txt.")
    assert left.endswith(".part")
    with whole_file(path) as part:
        assert os.listdir(tmp_path) == []
        part.write_text("new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"notes.txt": "new"}


def test_two_processes_may_write_one_path(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    other = (
        "import sys\n"
        "from modelgif.storage.atomic import whole_file\n"
        "with whole_file(sys.argv[1]) as part:\n"
        "    part.write_text('theirs')\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", other, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
        whole_file(path) as part,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        part.write_text("ours")
        assert len(os.listdir(tmp_path)) == 2
        # Begun while theirs is being written, and done before it.
        write_text(tmp_path / "other.txt", "x")
        process.communicate("\n")
        assert path.read_text() == "theirs"
    assert process.returncode == 0
    assert path.read_text() == "ours"
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "other.txt"]


def test_the_part_of_another_machine_is_left(tmp_path: Path) -> None:
    foreign = tmp_path / "notes.txt.00000000-1.part"
    foreign.write_text("being written there")
    write_text(tmp_path / "notes.txt", "here")
    assert foreign.exists()
