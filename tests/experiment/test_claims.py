import multiprocessing
import os
from functools import partial

import pytest

from modelgif.experiment.claims import Claims
from modelgif.experiment.launch import Launch, current_launch, launching, parse_shard
from modelgif.experiment.parallel import for_each
from tests.support.shared_work import NAMES, describe, describe_or_die, fail, fields

SPAWN = multiprocessing.get_context("spawn")


def work(folder, function, shard, items=NAMES):
    """What one worker of several does."""
    with launching(Launch(claims=Claims(folder / "claims", shard))):
        for_each(partial(function, folder), items, title="t", unit="model")


def start(folder, function, count):
    folder.mkdir()
    processes = [
        SPAWN.Process(target=work, args=(folder, function, (i, count))) for i in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def made(folder):
    """Of which models a field was computed; a worker that comes late finds those done before."""
    notes = [(file.name[0], file.read_text()) for file in (folder / "notes").iterdir()]
    assert {text for _, text in notes} <= {"1 0", "1 1"}
    return sorted(name for name, text in notes if text == "1 0")


@pytest.mark.slow
def test_two_workers_make_the_files_of_one_and_nothing_twice(tmp_path):
    assert start(tmp_path / "one", describe, 1) == [0]
    assert start(tmp_path / "two", describe, 2) == [0, 0]
    assert set(fields(tmp_path / "one")) == {f"{name}.h5" for name in NAMES}
    assert fields(tmp_path / "two") == fields(tmp_path / "one")
    assert made(tmp_path / "one") == made(tmp_path / "two") == sorted(NAMES)


@pytest.mark.slow
def test_what_a_dead_worker_had_begun_is_done_by_the_other(tmp_path):
    codes = start(tmp_path / "two", describe_or_die, 2)
    assert sorted(codes) == [-9, 0]
    assert start(tmp_path / "one", describe, 1) == [0]
    assert fields(tmp_path / "two") == fields(tmp_path / "one")
    assert made(tmp_path / "two") == sorted(NAMES)


def test_one_of_four_does_everything_when_the_others_never_come(tmp_path):
    done = []
    claims = Claims(tmp_path, (2, 4))
    assert claims.share(done.append, [0, 1, 2, 3, 4, 5, 6, 7]) == []
    assert done == [4, 5, 6, 7, 0, 1, 2, 3]
    assert claims.share(done.append, [3, 8]) == []
    assert done[8:] == [8]


def test_a_mark_older_than_the_claims_does_not_count(tmp_path):
    done = []
    first = Claims(tmp_path, (0, 2))
    first.share(done.append, ["x"])
    for mark in tmp_path.iterdir():
        os.utime(mark, (1e9, 1e9))
    Claims(tmp_path, (1, 2)).share(done.append, ["x"])
    assert done == ["x", "x"]


def test_work_of_another_function_or_setting_is_other_work(tmp_path):
    done = []

    def one(setting, item):
        done.append((setting, item))

    def other(setting, item):
        done.append((setting, item, "other"))

    claims = Claims(tmp_path, (0, 1))
    for function in (partial(one, 1), partial(one, 2), partial(other, 1), partial(one, 1)):
        claims.share(function, ["x"])
    assert done == [(1, "x"), (2, "x"), (1, "x", "other")]


def test_failures_are_told_once_the_others_are_done(tmp_path):
    claims, done = Claims(tmp_path / "claims", (0, 1)), []
    errors = claims.share(partial(fail, tmp_path), NAMES, lambda: done.append(None))
    assert [str(error) for error in errors] == ["no b"]
    assert len(done) == 4
    # Not marked as done: the next one tries again.
    again = Claims(tmp_path / "claims", (1, 2)).share(partial(fail, tmp_path), ["b"])
    assert len(again) == 1


def test_work_that_cannot_be_named_is_refused(tmp_path):
    (error,) = Claims(tmp_path, (0, 1)).share(print, [object()])
    assert "must have a repr that says what it is" in str(error)


def test_a_launch_holds_inside_only():
    assert current_launch() == Launch("local", None)
    with pytest.raises(RuntimeError, match="on purpose"), launching(Launch("ray")):
        assert current_launch().launcher == "ray"
        raise RuntimeError("on purpose")
    assert current_launch().launcher == "local"


@pytest.mark.parametrize("text", ["0/4", "3/4"])
def test_shards_are_numbered_from_0(text):
    assert parse_shard(text) == (int(text[0]), 4)


@pytest.mark.parametrize("text", ["4/4", "0/0", "1", "-1/4", "1/4/8", "a/b", ""])
def test_other_shards_are_refused(text):
    with pytest.raises(ValueError, match="a shard is i/n"):
        parse_shard(text)
