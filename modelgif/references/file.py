"""References as a file, so that the same points can be used again, elsewhere and by others."""

import json
import os
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open

from modelgif.references.references import References
from modelgif.storage.atomic import whole_file
from modelgif.storage.regular_file import missing_file
from modelgif.storage.safetensors_header import check_safetensors


class ReferenceFileError(ValueError):
    """A file of references that is missing, damaged, or something else."""


def write_references(path: str | os.PathLike[str], references: References) -> None:
    """Writes pixels, ids and their digest to `path`, a ``.safetensors`` file.

    Raises:
        ValueError: for another ending.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp(), "references.safetensors")
        >>> write_references(path, References(torch.rand(2, 1, 4, 4), ("a", "b")))
        >>> read_references(path).ids
        ('a', 'b')
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

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp(), "references.safetensors")
        >>> write_references(path, References(torch.rand(2, 1, 4, 4), ("a", "b")))
        >>> read_references(path).images.shape
        torch.Size([2, 1, 4, 4])
    """
    if (note := missing_file(path)) is not None:
        raise ReferenceFileError(f"{path}: there is no such file of references{note}.")
    try:
        check_safetensors(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            ids = json.loads(metadata["ids"])
            if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
                raise ValueError("the ids are not a list of strings")
            ids = tuple(ids)
            references = References(file.get_tensor("images"), ids)
            sound = references.sha256() == metadata["references_sha256"]
            _check_pixels(references)
    except (
        *(SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError),
        MemoryError,
    ) as error:
        raise ReferenceFileError(
            f"{path} holds no references ({type(error).__name__}: {str(error)[:300]}): give a file "
            "written by modelgif.references.file.write_references, or a folder of images."
        ) from error
    if not sound:
        raise ReferenceFileError(
            f"{path} is damaged: its references do not have the digest it states; make it again."
        )
    return references


def _check_pixels(references: References) -> None:
    images = references.images
    if not images.is_floating_point() or not images.numel():
        raise ValueError(f"expected floating-point pixels, got {list(images.shape)} {images.dtype}")
    finite = images.isfinite().flatten(1).all(1)
    if not finite.all():
        bad = references.ids[int(finite.logical_not().nonzero()[0].item())]
        raise ValueError(f"the pixels of reference {bad[:80]} are not finite")
