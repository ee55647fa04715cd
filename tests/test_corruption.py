"""A flipped byte is seen when the file is read, with the way out, or it changes nothing."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from modelgif.loading.card import parse_card
from modelgif.loading.checkpoint import read_card
from modelgif.loading.errors import CardError, CheckpointError
from tests.support.corruption import KINDS, Kind, flips

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", KINDS)
def test_a_flipped_byte_is_seen_or_changes_nothing(name: str, tmp_path: Path) -> None:
    tried = list(flips(tmp_path, KINDS[name], 200, seed=1))
    assert [flip for flip in tried if not flip.held] == []
    assert len(tried) >= 100
    assert Counter(flip.outcome for flip in tried)["seen"] > len(tried) / 3


def test_a_kind_without_a_digest_is_found_out(tmp_path: Path) -> None:
    def read(folder: Path) -> str:
        return (folder / "note.txt").read_text(encoding="latin-1")

    kind = Kind(lambda folder: (folder / "note.txt").write_text("a" * 50), read, "again")
    outcomes = {flip.outcome for flip in flips(tmp_path, kind, None)}
    assert outcomes == {"read as if it were sound"}


# Bytes that were once missed.


def written(name: str, folder: Path) -> Path:
    KINDS[name].write(folder)
    return folder


def replaced(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def test_damage_to_the_name_of_a_cards_digest_is_seen(tmp_path: Path) -> None:
    folder = written("checkpoint and card", tmp_path)
    replaced(folder / "model.json", b"card_sha256", b"card_shb256")
    with pytest.raises(CheckpointError, match="not a valid card; make"):
        read_card(folder / "model.safetensors")


def test_a_card_by_hand_may_hold_other_digests(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    other = f'"weights_sha256": "{"ab" * 32}", "data_sha256": "{"cd" * 32}"'
    path.write_text(f'{{"schema_version": 1, "architecture": "torchvision:resnet18", {other}}}')
    assert parse_card(path)["data_sha256"] == "cd" * 32
    path.write_text(path.read_text().replace('"data_sha256"', '"card_sha256"'))
    with pytest.raises(CardError, match="does not have the digest it states"):
        parse_card(path)


def test_a_record_marked_as_a_folder_is_seen(tmp_path: Path) -> None:
    # torch takes it for one without content, and gives what was in memory before.
    kind = KINDS["snapshot of a training"]
    path = written("snapshot of a training", tmp_path) / "model.pt"
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"archive/data/0") - 46
    content[entry + 38] |= 0x10
    path.write_bytes(content)
    with pytest.raises(ValueError, match="marked as a folder"):
        kind.read(tmp_path)
    torch.load(path, weights_only=True)  # torch itself says nothing


def test_a_record_with_an_overlong_header_is_seen(tmp_path: Path) -> None:
    path = written("snapshot of a training", tmp_path) / "model.pt"
    content = bytearray(path.read_bytes())
    content[29] = 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a complete archive of torch.save"):
        KINDS["snapshot of a training"].read(tmp_path)


def test_a_damaged_kind_is_damage_and_another_kind_is_another(tmp_path: Path) -> None:
    folder = written("sketch", tmp_path)
    replaced(folder / "model.sketch", b'"sketch\\"', b'"skatch\\"')
    with pytest.raises(ValueError, match="is damaged"):
        KINDS["sketch"].read(folder)
