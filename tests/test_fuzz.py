"""A little of the fuzzer, and what it has found."""

from pathlib import Path

import pytest

from modelgif.experiment.plain_yaml import dump_yaml, parse_yaml
from tests.support.fuzz import MORE_KINDS, SLOW, Target, TooSlowError, feed, targets, words
from tests.support.hostile_kind import READERS


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.slow
def test_readers_give_a_value_or_the_documented_error(fed: dict[str, Target]) -> None:
    for name, target in fed.items():
        outcomes = feed(target, 1, 12)
        assert sum(outcomes.values()) >= 1, name
    assert set(MORE_KINDS) <= set(fed)


def test_the_fuzzer_finds_what_is_wrong() -> None:
    def careless(text: str) -> int:
        return {"a": 1}[text[:1] or "a"]

    with pytest.raises(KeyError):
        feed(Target(words("a", "b"), careless, (ValueError,)), 0, 100)
    assert feed(Target(words("a", "b"), careless, (KeyError,)), 0, 100)["refused"] > 0


def test_a_slow_reader_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, SLOW + 1))
    monkeypatch.setattr("tests.support.fuzz.time.process_time", lambda: next(times))
    with pytest.raises(TooSlowError):
        Target(words("a"), str, ()).feed("a")


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\ufeff"])
def test_ends_of_lines_of_other_alphabets_are_read_as_written(character: str) -> None:
    for value in ({character: f"a{character}b"}, [character]):
        assert parse_yaml(dump_yaml(value)) == value


def test_a_length_beyond_the_archive_is_refused_like_any_damage(tmp_path: Path) -> None:
    MORE_KINDS["pickle"].write(tmp_path)
    path = tmp_path / "x.pt"
    content = bytearray(path.read_bytes())
    content[28:30] = b"\xff\xff"  # of the extra field of the first record
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a valid snapshot .*: move it away"):
        READERS["snapshot"](path)
