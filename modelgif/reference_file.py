"""References as a file, so that the same points can be used again, elsewhere and by others."""

import json
import os
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open

from modelgif.files import whole_file
from modelgif.reference import References


class ReferenceFileError(ValueError):
    """A file that holds no sound references."""


def write_references(path: str | os.PathLike[str], references: References) -> None:
    """Writes pixels, ids and their digest to `path`, a ``.safetensors`` file.

    Raises:
        ValueError: for another ending.
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"references go to a .safetensors file, got {path}.")
    metadata = {"ids": json.dumps(references.ids), "references_sha256": references.sha256()}
    images = references.images.detach().cpu().contiguous()
    with whole_file(path) as part:
        safetensors.torch.save_file({"images": images}, part, metadata=metadata)


def read_references(path: str | os.PathLike[str]) -> References:
    """Returns the references that `write_references` wrote to `path`.

    Raises:
        ReferenceFileError: when there is no such file, it holds something else, or its content is
            not what its digest says.
    """
    if not Path(path).is_file():
        raise ReferenceFileError(f"{path}: there is no such file of references.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            ids = tuple(json.loads(metadata["ids"]))
            references = References(file.get_tensor("images"), ids)
            sound = references.sha256() == metadata["references_sha256"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ReferenceFileError(
            f"{path} holds no references ({type(error).__name__}: {error}): give a file written by "
            "modelgif.reference_file.write_references, or a folder of images."
        ) from error
    if not sound:
        raise ReferenceFileError(
            f"{path} is damaged: its references do not have the digest it states; make it again."
        )
    return references
