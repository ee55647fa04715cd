"""State dicts: read from a file without running it, and loaded into a network without guessing."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from modelgif.loading.address import did_you_mean
from modelgif.loading.errors import CheckpointError, PlainPickleError
from modelgif.loading.torch_file import read_pickled
from modelgif.storage.regular_file import missing_file
from modelgif.storage.safetensors_header import SafetensorsError, check_safetensors

PICKLED = (".pt", ".pth", ".bin")
# Its reader of pickles with weights_only=True could be made to run code before (CVE-2026-24747).
_SAFE_TORCH = "2.10"
_NESTED = ("state_dict", "model")
_SHOWN = 3
_LONG = 200
# Tied weights are one tensor under several names; a view of one number can claim any size.
_MOST_TIES = 16


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Returns the tensors in a ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file, on the CPU.

    Pickled files are read as `modelgif.loading.torch_file.read_pickled` says, and only by a torch
    whose reader has no known hole; a state dict under the key ``state_dict`` or ``model`` is taken
    when it is the only one. The memory taken is bounded by a multiple of the file's size.

    Raises:
        CheckpointError: for a missing or damaged file, another format, or a pickle that holds
            anything but tensors.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", *PICKLED):
        raise CheckpointError(
            f"{path} must end in .safetensors, {', '.join(PICKLED)} to be read as weights."
        )
    if (note := missing_file(path)) is not None:
        raise CheckpointError(f"there is no file {path}{note}.")
    if path.suffix in PICKLED:
        return _sane(_tensors_in(_unpickled(path), path), path)
    try:
        check_safetensors(path)
        return safetensors.torch.load_file(path)
    except (SafetensorError, SafetensorsError, OSError, RuntimeError, MemoryError) as error:
        # Of the operating system, too: a file can be larger than what can be mapped.
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}): make it again."
        ) from error


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Puts `state` into `network` if names and shapes are the same; it takes the state's precision.

    Args:
        network: changed in place.
        state: from `read_state_dict`.
        origin: the file, for messages.

    Raises:
        CheckpointError: for names or shapes that differ.
    """
    check_fit(network, state, origin)
    own = network.state_dict(keep_vars=True)
    for name, tensor in own.items():
        # load_state_dict would round float64 weights to the network's float32, silently.
        tensor.data = tensor.data.to(state[name].dtype)
    network.load_state_dict(dict(state))


def check_fit(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Checks that names, shapes and kinds of number are the same; no number is read.

    Args:
        network: may be on the meta device.
        state: from `read_state_dict`.
        origin: the file, for messages.

    Raises:
        CheckpointError: for names, shapes or kinds that differ.
    """
    own = network.state_dict(keep_vars=True)
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected:
        raise CheckpointError(
            f"{origin} holds the weights of another architecture: "
            f"{len(missing)} names are missing{_examples(missing, unexpected)}; "
            f"{len(unexpected)} are unexpected{_examples(unexpected, [])}. "
            "Correct the architecture, or rename the weights; for the same architecture of another "
            "library, see match=order."
        )
    differing = [
        f"{name} is {list(state[name].shape)} in the file and {list(own[name].shape)} in the "
        "network"
        for name in own
        if state[name].shape != own[name].shape
    ]
    if differing:
        raise CheckpointError(
            f"{origin} holds {len(differing)} weights of another shape: "
            f"{'; '.join(differing[:_SHOWN])}. Correct the architecture (num_classes, width …)."
        )
    for name, tensor in own.items():
        if tensor.is_floating_point() != state[name].is_floating_point():
            raise CheckpointError(
                f"{origin} holds {name} as {state[name].dtype}, where the network has "
                f"{tensor.dtype}: turn quantised weights back to floating point first."
            )


def in_order(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Returns weights under the names that `network` has for them, matched by their order.

    For one architecture in two libraries, such as EfficientNet in timm and elsewhere. Weight by
    weight, the shape and the last part of the name (``weight``, ``running_mean`` …) must agree,
    which is unlikely for two different architectures. It cannot notice two layers of one shape
    that were swapped, so compare a prediction with the original's.

    Args:
        network: left unchanged.
        state: from `read_state_dict`, in the order in which the other library saved it.
        path: of its file.

    Raises:
        CheckpointError: for safetensors, which are sorted by name, and for weights that differ.
    """
    if path.suffix not in PICKLED:
        raise CheckpointError(
            f"{path} cannot be matched by order: safetensors keep names only. Rename the weights, "
            "or use the pickled file that they were made from."
        )
    own = network.state_dict()
    if len(own) != len(state):
        raise CheckpointError(
            f"{path} holds {len(state)} weights and the network {len(own)}: it is of another "
            "architecture."
        )
    for (name, tensor), (other, value) in zip(own.items(), state.items(), strict=True):
        if tensor.shape != value.shape or name.split(".")[-1] != other.split(".")[-1]:
            raise CheckpointError(
                f"{path} does not match the network in order: {other} {list(value.shape)} stands "
                f"where {name} {list(tensor.shape)} should. Correct the architecture, or rename "
                "the weights."
            )
    return dict(zip(own, state.values(), strict=True))


def _examples(names: list[str], others: list[str]) -> str:
    shown = [f"{name[:_LONG]}{did_you_mean(name[:_LONG], others)}" for name in names[:_SHOWN]]
    return f" ({', '.join(shown)}{' …' if len(names) > _SHOWN else ''})" if shown else ""


def _unpickled(path: Path) -> Any:
    if torch.__version__ < _SAFE_TORCH:
        raise CheckpointError(
            f"{path} is a pickle, and in torch {torch.__version__} even the weights_only reader "
            f"can be made to run code by such a file: install torch {_SAFE_TORCH} or newer, or "
            "convert the file to safetensors where you trust it."
        )
    try:
        return read_pickled(path)
    except Exception as error:
        # A damaged or hostile pickle can fail with any exception. torch's own message is left out,
        # for it advises weights_only=False.
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it asks for {wanted[1]}" if wanted else type(error).__name__
        if isinstance(error, PlainPickleError):
            reason = str(error)[:200]
        raise CheckpointError(
            f"{path} is not a plain state dict ({reason}). A whole pickled module can run any code "
            "when it is loaded, and is refused: in the program that made it, save "
            "model.state_dict() with safetensors.torch.save_file. A damaged file must be made "
            "again."
        ) from error


def _sane(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Refuses tensors that are not stored in the file as they appear."""
    for name, tensor in state.items():
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            raise CheckpointError(
                f"{path} holds {name[:80]} as a {tensor.layout} tensor on {tensor.device}: save "
                "dense tensors."
            )
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    size = path.stat().st_size
    if claimed > _MOST_TIES * size:
        raise CheckpointError(
            f"{path} claims {claimed:,} bytes of weights in a file of {size:,}: its tensors are "
            "views that repeat a few numbers. Save them with .contiguous()."
        )
    return state


def _tensors_in(content: Any, path: Path) -> dict[str, Tensor]:
    _refuse_quantised(content, path)
    if _is_state_dict(content):
        return dict(content)
    entries = content if isinstance(content, Mapping) else {}
    found = [key for key, value in entries.items() if _is_state_dict(value)]
    if len(found) == 1 and found[0] in _NESTED:
        return dict(entries[found[0]])
    what = f"a {type(content).__name__}"
    if entries:
        what += f" with {', '.join(map(repr, list(entries)[:8]))}"
    raise CheckpointError(
        f"{path} must hold one state dict, itself or under {' or '.join(_NESTED)}; it holds "
        f"{what}, of which {len(found)} are state dicts. Save the one you mean on its own."
    )


def _refuse_quantised(content: Any, path: Path) -> None:
    entries = content if isinstance(content, Mapping) else {}
    for part in (entries, *(entries.get(key) for key in _NESTED)):
        for name, value in part.items() if isinstance(part, Mapping) else ():
            packed = isinstance(name, str) and "_packed_params" in name
            if packed or (isinstance(value, Tensor) and value.is_quantized):
                raise CheckpointError(
                    f"{path} holds quantised weights ({name}), and integer arithmetic passes no "
                    "gradient: use the model they were quantised from, or save them dequantised."
                )


def _is_state_dict(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )
