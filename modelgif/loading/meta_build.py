"""Architectures built without memory, before a file is trusted about them.

A card may name any size: ``convnet?width=100000`` is a function of a trusted module, and building
it would exhaust the memory. So the network is first built on torch's meta device, where weights
have shapes and no numbers, counted while it grows, and compared with the file.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from modelgif.loading.address import Address
from modelgif.loading.errors import ArchitectureError

# Above any plausible argument of an architecture that is not the extent of one of its weights.
_LARGE = 10_000
# Parts that are built and replaced (a head, say), and layers without weights.
_SPARE_PARTS, _PARTS_A_WEIGHT = 1_000, 50
# Buffers that no file holds: tables of positions and the like.
_SPARE_BYTES, _BYTES_A_BYTE = 2**28, 4


def check_arguments(architecture: Address, state: Mapping[str, Tensor]) -> None:
    """Checks that no number in the address is larger than the weights explain, nor a device set.

    Raises:
        ArchitectureError: naming the argument.
    """
    extents = [extent for tensor in state.values() for extent in tensor.shape]
    most = max([_LARGE, len(state), *extents])
    for key, value in architecture.arguments().items():
        for part in _parts({key: value}):
            if part == "device":
                raise ArchitectureError(f"{key}={str(value)[:80]} chooses a device: leave it out")
            if isinstance(part, int | float) and not abs(part) <= most:
                raise ArchitectureError(
                    f"{key}={str(value)[:80]} is larger than anything in the weights, whose "
                    f"largest extent is {max([0, *extents])}"
                )


def build_on_meta(build: Callable[[], nn.Module], state: Mapping[str, Tensor]) -> nn.Module:
    """Returns the network that `build` makes, on the meta device: shapes without memory.

    Args:
        build: makes the network, without device arguments.
        state: weights that it should fit; they bound what may be built.

    Raises:
        ArchitectureError: when the network grows far beyond the weights.
        Exception: what `build` raises, also when it computes with values that meta tensors lack.
    """
    with bounded_by(state), torch.device("meta"):
        return build()


@contextmanager
def bounded_by(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Stops this thread from building far more than a network with the weights `state` has.

    Raises:
        ArchitectureError: inside the block, as soon as there are too many parts or bytes.
    """
    held = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    most_bytes = _SPARE_BYTES + _BYTES_A_BYTE * held
    most_parts = _SPARE_PARTS + _PARTS_A_WEIGHT * len(state)
    n_bytes, n_parts, builder = 0, 0, threading.get_ident()

    def count(_owner: nn.Module, _name: str, part: object) -> None:
        nonlocal n_bytes, n_parts
        if threading.get_ident() != builder:
            return
        n_parts += 1
        if isinstance(part, Tensor):
            n_bytes += part.numel() * part.element_size()
        if n_parts > most_parts or n_bytes > most_bytes:
            raise ArchitectureError(
                f"it has more than {most_parts:,} parts or {most_bytes:,} bytes, for "
                f"{len(state):,} weights of {held:,} bytes"
            )

    hooks = [
        register_module_parameter_registration_hook(count),
        register_module_module_registration_hook(count),
        register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _parts(value: object) -> Iterator[object]:
    """The keys and values in a literal, however nested."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set):
        for part in value:
            yield from _parts(part)
    else:
        yield value
