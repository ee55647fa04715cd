"""Tensors with a header in one file, whose digest shows damage."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from modelgif.storage.atomic import whole_file
from modelgif.storage.digest import tensors_sha256
from modelgif.storage.regular_file import missing_file
from modelgif.storage.safetensors_header import check_safetensors


class SealedFileError(ValueError):
    """A file that is missing, damaged or of another kind."""


def write_sealed(
    path: str | os.PathLike[str],
    kind: str,
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> None:
    """Writes `tensors` and a JSON `header` to `path`, whole or not at all.

    The file is a safetensors file; the same content gives the same bytes.

    Args:
        path: where.
        kind: what the file is, in a word or two; readers ask for it.
        header: plain JSON.
        tensors: by name; written from the CPU.
    """
    text = json.dumps(header, sort_keys=True, allow_nan=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    seal = {"kind": kind, "header": text, "sha256": _digest(kind, text, tensors)}
    # One entry: safetensors writes several in no fixed order.
    metadata = {"seal": json.dumps(seal)}
    with whole_file(path) as part:
        safetensors.torch.save_file(tensors, part, metadata=metadata)


def read_sealed(
    path: str | os.PathLike[str], kind: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns the header and the tensors that `write_sealed` wrote to `path`, on the CPU.

    Raises:
        SealedFileError: when there is no such file, it is of another kind, or its content is not
            what its digest says.
    """
    if (note := missing_file(path)) is not None:
        raise SealedFileError(f"{path}: there is no such {kind}{note}.")
    try:
        check_safetensors(path)
        with safe_open(path, framework="pt") as file:
            seal = json.loads((file.metadata() or {})["seal"])
            stated, text, digest = (seal[key] for key in ("kind", "header", "sha256"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(text)
    except (
        *(SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError),
        MemoryError,
    ) as error:
        raise SealedFileError(
            f"{path} is not a sound {kind} ({type(error).__name__}: {str(error)[:300]}); make it "
            "again."
        ) from error
    # Of what it says to be, so that a damaged kind is not taken for another.
    if _digest(str(stated), text, tensors) != digest:
        raise SealedFileError(
            f"{path} is damaged: its content does not have the digest it states; make it again."
        )
    if stated != kind:
        raise SealedFileError(f"{path}: expected a {kind}, got a {str(stated)[:80]}.")
    return header, tensors


def _digest(kind: str, header: str, tensors: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(f"{kind}\n{header}\n{tensors_sha256(tensors)}".encode()).hexdigest()
