import gzip
import re

import pytest
import torch

from modelgif.data.idx import read_idx

# Two images of 2 x 3 pixels, written out byte by byte.
CONTENT = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, *range(250, 256), *range(6)])
IMAGES = [[[250, 251, 252], [253, 254, 255]], [[0, 1, 2], [3, 4, 5]]]


@pytest.mark.parametrize(("name", "write"), [("a-ubyte", bytes), ("a-ubyte.gz", gzip.compress)])
def test_plain_and_compressed_files(tmp_path, name, write):
    (tmp_path / name).write_bytes(write(CONTENT))
    array = read_idx(tmp_path / name)
    assert array.dtype == torch.uint8
    assert array.tolist() == IMAGES


def test_sizes_above_a_byte_are_most_significant_first(tmp_path):
    (tmp_path / "labels").write_bytes(bytes([0, 0, 8, 1, 0, 0, 1, 2]) + bytes(258))
    assert read_idx(tmp_path / "labels").shape == (258,)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", CONTENT[:-1], "an IDX file of shape [2, 2, 3] has 28 bytes, got 27; fetch it again."),
        ("a", CONTENT + b"x", "has 28 bytes, got 29"),
        ("a", b"", "begins with 00 00 08, got an empty file"),
        ("a", b"\x00\x00\x0d\x01\x00", "begins with 00 00 08, got 00 00 0d"),
        ("a", gzip.compress(CONTENT, mtime=0), "begins with 00 00 08, got 1f 8b 08"),
        ("a.gz", CONTENT, "must be a whole gzip file"),
        ("a.gz", gzip.compress(CONTENT, mtime=0)[:-9], "must be a whole gzip file"),
        ("a.gz", gzip.compress(CONTENT, mtime=0)[:10] + b"\xff" * 20, "must be a whole gzip file"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: .*{re.escape(message)}"):
        read_idx(tmp_path / name)
