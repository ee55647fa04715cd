"""IDX files, the format of MNIST and of its successors."""

import gzip
import math
import os
import zlib
from pathlib import Path

import torch
from torch import Tensor

_UNSIGNED_BYTE = 0x08


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """Returns the array of unsigned bytes in an IDX file, uint8.

    A name that ends in ``.gz`` stands for a file compressed by gzip.

    Raises:
        ValueError: for a file that is damaged or holds another type of number.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "two-ubyte"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
        >>> read_idx(path).tolist()
        [7, 9]

    Source: LeCun, Cortes and Burges, The MNIST Database of Handwritten Digits: two zero bytes, the
    type, the number of dimensions, each dimension in four bytes, most significant first, then the
    numbers, the last dimension changing fastest.
    """
    path = Path(path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: must be a whole gzip file: {error}; fetch it again.") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise ValueError(
            f"{path}: an IDX file of unsigned bytes begins with 00 00 08, "
            f"got {content[:3].hex(' ') or 'an empty file'}."
        )
    header = 4 + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4]) for at in range(4, header, 4)]
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise ValueError(
            f"{path}: an IDX file of shape {shape} has {expected} bytes, got {len(content)}; "
            "fetch it again."
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)
