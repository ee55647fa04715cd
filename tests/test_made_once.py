"""What several tests read is made once, however many processes run the tests."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.made_once import MadeOnce


def test_one_process_makes_it_and_each_has_a_copy(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "result").write_text("as made")

    workers = [MadeOnce(tmp_path / "shared", tmp_path / str(i)) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        copies = list(pool.map(lambda worker: worker("run", make), workers))
    assert made == [tmp_path / "shared" / "run"]
    (copies[0] / "result").write_text("changed by a test")
    assert [(copy / "result").read_text() for copy in copies[1:]] == ["as made"] * 3
    assert workers[0]("run", make) == copies[0]
    assert (copies[0] / "result").read_text() == "changed by a test"


def test_what_failed_is_made_again_from_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("of it")
        raise OSError("no space left")

    once = MadeOnce(tmp_path / "shared", tmp_path / "own")
    with pytest.raises(OSError, match="no space left"):
        once("run", fail)
    copy = once("run", lambda folder: (folder / "whole").write_text("of it"))
    assert [file.name for file in copy.iterdir()] == ["whole"]
