"""Seeds and devices of an experiment, and the same bits every time."""

import hashlib
from contextlib import AbstractContextManager

import torch


def derive_seed(seed: int, *names: object) -> int:
    """Returns a seed for one named purpose, so that purposes never share random numbers.

    It depends on `seed` and the names alone: adding a model to a zoo changes no other model.
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def seeded_generator(seed: int, *names: object) -> torch.Generator:
    """Returns a CPU generator for one named purpose, see `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))


def resolve_device(name: str) -> torch.device:
    """Returns the device called `name`; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ValueError: when CUDA is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no CUDA device; use device=auto or cpu.")
    return device


def deterministic_convolutions() -> AbstractContextManager[None]:
    """Returns a context in which CUDA's convolutions add up in one order; other settings stay."""
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32
    )
