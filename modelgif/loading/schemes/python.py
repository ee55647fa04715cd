"""``python:PACKAGE.MODULE:FUNCTION``: networks that a Python function returns."""

import importlib
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from modelgif.loading.address import Address, did_you_mean
from modelgif.loading.errors import CheckpointError, UntrustedError
from modelgif.loading.preprocessing import taken_apart
from modelgif.loading.scheme import Built, Scheme


def build_python(address: Address, *, download: bool = False, trust: Collection[str] = ()) -> Built:
    """Returns what the function of an address returns, and its preprocessing if it has one.

    Args:
        address: its name ``package.module:function``, its query the function's arguments.
        download: not needed.
        trust: not needed: an address that the caller typed is trusted, see `require_trusted_card`.

    Raises:
        ValueError: for a malformed address or an unknown function.
        ImportError: when the module cannot be imported.
        TypeError: when the function does not return a module.
    """
    return taken_apart(_function(address)(**address.arguments()), address.text)


def require_trusted_card(architecture: Address, path: Path, trust: Collection[str]) -> None:
    """Refuses a card that would call anything but a public function of a trusted module.

    Args:
        architecture: what the card says.
        path: of the weights, for messages.
        trust: modules and packages.

    Raises:
        modelgif.loading.errors.UntrustedError: for any other.
        modelgif.loading.errors.CheckpointError: when the function is not there.
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
        raise CheckpointError(
            f"the card of {path} names a function that does not exist: {error}"
        ) from error
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


SCHEME = Scheme(
    name="python",
    example="python:package.module:function?num_classes=10",
    summary="what your function returns",
    build=build_python,
    is_architecture=True,
    needs_trust="in a card",
    check_card=require_trusted_card,
)
