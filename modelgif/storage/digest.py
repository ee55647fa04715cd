"""What tensors hold, as a digest."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor


def dense_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors, detached.

    Raises:
        TypeError: naming one that is not a dense tensor.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
            raise TypeError(
                f"weights must be dense tensors, but {name!r} is a {type(tensor).__name__}"
                f"{f' ({tensor.layout}, {tensor.dtype})' if isinstance(tensor, Tensor) else ''}: "
                "keep anything else in the card or in the architecture."
            )
    return {name: tensor.detach() for name, tensor in tensors.items()}


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of tensors: names, dtypes, shapes and bytes, sorted by name.

    It depends on the content alone: not on device, memory layout or file format.

    Raises:
        TypeError: for an entry that is not a dense tensor.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(dense_tensors(tensors).items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        content = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(content.numpy().data)
    return digest.hexdigest()
