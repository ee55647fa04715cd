"""Headers of safetensors files, checked before a tensor is made."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

# The format allows 100 MB, of which a million empty tensors could be made.
_LONGEST_HEADER = 2**24
_MOST_TENSORS = 100_000


class SafetensorsError(ValueError):
    """A file whose header is damaged, or made to do harm."""


def check_safetensors(path: str | os.PathLike[str]) -> None:
    """Checks that the header of a safetensors file is of a sane size and names everything once.

    All else (types, extents, that tensors fill the file without overlap) is checked by the library
    that reads it.

    Raises:
        SafetensorsError: with the reason.
    """
    size = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            raise SafetensorsError(
                f"its header should have {length:,} bytes, and the file has {size:,}"
            )
        if length > _LONGEST_HEADER:
            raise SafetensorsError(
                f"its header has {length:,} bytes; {_LONGEST_HEADER:,} is the most that is read"
            )
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise SafetensorsError(f"its header is unreadable: {_short(error)}") from error
    if not isinstance(header, dict) or len(header) > _MOST_TENSORS:
        raise SafetensorsError(f"its header is not a mapping of at most {_MOST_TENSORS:,} tensors")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0][:80]!r} appears twice")
    return dict(pairs)


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
