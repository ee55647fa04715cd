import contextlib

import pytest
import safetensors.torch
import torch

from modelgif.references.file import ReferenceFileError, read_references, write_references
from modelgif.references.references import References


@pytest.fixture
def references():
    generator = torch.Generator().manual_seed(3)
    return References(torch.rand(3, 1, 4, 5, generator=generator), ("a/1", "ü", "c"))


def test_what_was_written_is_read(tmp_path, references):
    write_references(tmp_path / "r.safetensors", references)
    found = read_references(tmp_path / "r.safetensors")
    assert torch.equal(found.images, references.images)
    assert found.ids == references.ids
    assert found.sha256() == references.sha256()


def test_every_flipped_byte_is_seen(tmp_path, references):
    path = tmp_path / "r.safetensors"
    write_references(path, references)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        found = None
        with contextlib.suppress(ReferenceFileError):
            found = read_references(path)
        # A space of the padding, or of the JSON between values, may be another.
        assert found is None or found.sha256() == references.sha256()


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x00" * 7])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "r.safetensors"
    path.write_bytes(content)
    with pytest.raises(ReferenceFileError, match=r"r\.safetensors holds no references"):
        read_references(path)


def test_a_checkpoint_holds_no_references(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(ReferenceFileError, match="holds no references"):
        read_references(path)


def test_a_missing_file_and_another_ending(tmp_path, references):
    with pytest.raises(ReferenceFileError, match="no such file"):
        read_references(tmp_path / "r.safetensors")
    with pytest.raises(ValueError, match="safetensors"):
        write_references(tmp_path / "r.h5", references)
