"""A sample of the kill matrix: killed anywhere, a run goes on and ends in the same bytes."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.kill_matrix import SCENARIOS, matrix

pytestmark = pytest.mark.slow

# Between write, flush and rename, and between blocks of work.
PLACES = {
    *("before flushing a file", "file cut in two", "after flushing a file"),
    *("before renaming", "after renaming", "before flushing a folder", "after flushing a folder"),
    *("in a store", "before a block of a store", "before an epoch"),
}


def careless(folder: Path) -> None:
    """Writes in place."""
    with (folder / "result.txt").open("w") as file:
        for line in ("first\n", "second\n"):
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def forgetful(folder: Path) -> None:
    """Writes whole files, but takes the first for the sign that all is done."""
    first, second = folder / "first.txt", folder / "second.txt"
    if not first.exists():
        for path in (first, second):
            part = path.with_suffix(".part")
            part.write_text("all of it")
            os.replace(part, path)


def rows(folder: Path, most: int) -> list[dict[str, Any]]:
    bad = {scenario.__name__: scenario for scenario in (careless, forgetful)}
    return [*matrix(folder / "good", most), *matrix(folder / "bad", scenarios=bad)]


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """In a fresh process, for the matrix forks, which one with threads must not."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(rows, tmp_path_factory.mktemp("kills"), 6).result()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_killed_run_goes_on_to_the_same_bytes(name: str, kills: list[dict[str, Any]]) -> None:
    own = [row for row in kills if row["scenario"] == name]
    assert [row for row in own if row["wrong"] is not None] == []
    assert len(own) == 6


def test_every_place_was_tried(kills: list[dict[str, Any]]) -> None:
    assert {row["place"] for row in kills if row["scenario"] in SCENARIOS} >= PLACES


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("careless", "result.txt is visible, and no whole version of it"),
        ("forgetful", "other bytes in second.txt"),
    ],
)
def test_a_bad_writer_is_found_out(name: str, wrong: str, kills: list[dict[str, Any]]) -> None:
    assert wrong in {row["wrong"] for row in kills if row["scenario"] == name}
