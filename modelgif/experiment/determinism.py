"""The same bits every time, on CUDA too."""

from contextlib import AbstractContextManager

import torch


def deterministic_convolutions() -> AbstractContextManager[None]:
    """Returns a context in which CUDA's convolutions add up in one order; other settings stay."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32
    )
