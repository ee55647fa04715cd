"""What several tests read is made once, however many processes run the tests."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.made_once import MadeOnce


def test_one_process_makes_it_for_all(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "result").write_text("whole")

    def read(once: MadeOnce) -> str:
        return (once("run", make) / "result").read_text()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, [MadeOnce(tmp_path) for _ in range(4)])) == ["whole"] * 4
    assert made == [tmp_path / "run"]


def test_what_failed_is_made_again_from_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("of it")
        raise OSError("no space left")

    once = MadeOnce(tmp_path)
    with pytest.raises(OSError, match="no space left"):
        once("run", fail)
    folder = once("run", lambda folder: (folder / "whole").write_text("of it"))
    assert [file.name for file in folder.iterdir()] == ["whole"]
