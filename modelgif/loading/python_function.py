"""Networks that a Python function returns."""

import importlib
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from torch import nn

from modelgif.loading.address import Address, did_you_mean
from modelgif.loading.preprocessing import Preprocessed
from modelgif.loading.state_dict import CheckpointError
from modelgif.loading.torchvision_timm import Built
from modelgif.loading.trust import UntrustedError


def build_python(address: Address) -> Built:
    """Returns what the function of an address returns, and its preprocessing if it has one.

    Raises:
        ValueError: for a malformed address or an unknown function.
        ImportError: when the module cannot be imported.
        TypeError: when the function returns anything but a module.
    """
    return with_preprocessing(_function(address)(**address.arguments()), address)


def with_preprocessing(network: object, address: Address) -> Built:
    """Returns what somebody's function returned as a bare network and its preprocessing.

    Raises:
        TypeError: when it is no module.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"{address.text} must return a torch.nn.Module, got {type(network).__name__}."
        )
    if isinstance(network, Preprocessed):
        return network.network, network.preprocessing
    return network, {}


def check_card(architecture: Address, path: Path, trust: Collection[str]) -> None:
    """Refuses a card that would call anything but a function made in a trusted module.

    Args:
        architecture: what the card says.
        path: of the weights, for messages.
        trust: modules and packages.

    Raises:
        UntrustedError: for any other.
    """
    module, _, name = architecture.name.partition(":")
    if not any(module == trusted or module.startswith(f"{trusted}.") for trusted in trust):
        raise UntrustedError(
            f"the card of {path} asks to run {architecture.name}, and cards may run functions of "
            f"{', '.join(trust) or 'no package'} only. If you trust it, call "
            f"load_model(…, trust=({module!r},))."
        )
    try:
        origin = getattr(_function(architecture), "__module__", None)
    except (ImportError, ValueError) as error:
        raise CheckpointError(f"the card of {path} asks for what is not there: {error}") from error
    if name.startswith("_") or origin != module:
        raise UntrustedError(
            f"the card of {path} asks to run {architecture.name}, which is not a public function "
            f"of that module (it is from {origin}): correct the architecture."
        )


def _function(address: Address) -> Callable[..., Any]:
    module_name, _, name = address.name.partition(":")
    if not re.fullmatch(r"\w+(\.\w+)*", module_name) or not name.isidentifier():
        raise ValueError(
            f"expected python:package.module:function?key=value, got {address.text!r}."
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ImportError(
            f"{address.text} cannot be imported: {error}. Is its folder on PYTHONPATH?"
        ) from error
    if not callable(getattr(module, name, None)):
        functions = [n for n in dir(module) if callable(getattr(module, n))]
        raise ValueError(f"{module_name} has no function {name!r}.{did_you_mean(name, functions)}")
    return getattr(module, name)
