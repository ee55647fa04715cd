"""Networks of optional libraries: names checked, nothing fetched without leave."""

import hashlib
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from modelgif.loading.address import Address, did_you_mean
from modelgif.loading.schemes import find_scheme


def import_library(address: Address) -> ModuleType:
    """Returns the library that addresses of this scheme need.

    Raises:
        ImportError: when it is not installed, with the extra of this package that installs it.
    """
    scheme = find_scheme(address.scheme)
    try:
        return importlib.import_module(scheme.library)
    except ImportError as error:
        raise ImportError(
            f"{scheme.name}: addresses need {scheme.library}: "
            f"pip install 'modelgif[{scheme.extra}]'."
        ) from error


def check_name(address: Address, names: Iterable[str], *, refused: Iterable[str]) -> None:
    """Checks that a library has the model of an address, and that no argument would fetch weights.

    Args:
        address: of the library's scheme.
        names: of its models.
        refused: arguments by which it would read or fetch weights that the address does not name.

    Raises:
        ValueError: with near misses of an unknown name, or the way out of a refused argument.
    """
    names = list(names)
    if address.name not in names:
        raise ValueError(
            f"{address.scheme} has no model {address.name!r}.{did_you_mean(address.name, names)}"
        )
    given = sorted(set(address.query) & set(refused))
    if given:
        raise ValueError(
            f"{address.text} must not say {', '.join(given)}: ask for trained weights with "
            f"{find_scheme(address.scheme).trained}, and for weights of your own with "
            "file:…?architecture=…"
        )


def call_builder(
    builder: Callable[..., nn.Module], address: Address, arguments: Mapping[str, Any]
) -> nn.Module:
    """Returns the network that a library's function makes.

    Raises:
        ValueError: in the place of whatever it raises for wrong arguments.
    """
    try:
        return builder(**arguments)
    except Exception as error:
        # Each architecture refuses wrong arguments in its own way.
        raise ValueError(
            f"{address.text} cannot be built: {type(error).__name__}: {error}"
        ) from error


def check_cached(url: str, *, download: bool) -> None:
    """Checks that trained weights are in torch's hub folder and are what their name says.

    Args:
        url: where the library would fetch them.
        download: whether it may.

    Raises:
        FileNotFoundError: when they are not there and must not be fetched.
        ValueError: when they are damaged.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(url).path).name)
    if not file.is_file():
        if download:
            return
        raise FileNotFoundError(
            f"the trained weights {file.name} are not in {file.parent}: call load_model(…, "
            f"download=True), or put them there from {url}."
        )
    digest = re.search(r"-([0-9a-f]{8,})\.", file.name)
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if digest and not found.startswith(digest[1]):
        raise ValueError(
            f"{file} is damaged: its SHA-256 begins with {found[:8]}, not {digest[1]}. Delete it "
            "and fetch it again with load_model(…, download=True)."
        )
