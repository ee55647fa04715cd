"""Models by address: ``load_model("torchvision:resnet18?weights=DEFAULT")``."""

import importlib
import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from modelgif.address import (
    PREPROCESSING_KEYS,
    Address,
    did_you_mean,
    parse_address,
    parse_architecture,
)
from modelgif.checkpoint import read_checkpoint
from modelgif.libraries import build_timm, build_torchvision
from modelgif.preprocessing import Preprocessed
from modelgif.state_dict import CheckpointError, load_strictly, read_state_dict

TRUSTED = ("modelgif.experiment.cifar_resnet", "modelgif.experiment.networks")

_log = logging.getLogger("modelgif")


def load_model(
    address: str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    trust: Collection[str] = TRUSTED,
    download: bool = False,
) -> Preprocessed:
    """Returns the model at an address, in evaluation mode, behind its own preprocessing.

    - ``torchvision:NAME``: trained with ``weights=DEFAULT`` or another of its names, else random
    - ``timm:NAME``: trained with ``pretrained=true``, else random
    - ``file:PATH``: a checkpoint of `modelgif.checkpoint`; or the weights in a ``.safetensors``,
      ``.pt``, ``.pth`` or ``.bin`` file without a card, with ``architecture=ADDRESS``
      (percent-encoded) in the query
    - ``python:PACKAGE.MODULE:FUNCTION``: what the function returns

    The preprocessing is that of the trained weights or of the card; ``mean``, ``std`` and ``size``
    in the query take its place. Random weights come from ``seed`` in the query (0), and torch's
    random state is left as it was. Other keys are arguments of the network, as Python literals.

    Args:
        address: ``scheme:name?key=value&key=value``. Relative paths start at the current folder.
        device: where the model goes.
        dtype: its precision; by default that of its weights.
        trust: modules and packages whose functions a card may call. An address typed here may call
            any, a card that came with a file may not.
        download: whether trained weights may be fetched when they are not in the library's cache.

    Raises:
        ValueError: for a malformed address, an unknown name or argument.
        ImportError: when the library or the module is not installed.
        FileNotFoundError: when trained weights are not in the library's cache.
        modelgif.state_dict.CheckpointError: for files that are missing, damaged, refused, or of
            another architecture.
    """
    parsed = parse_address(address)
    if parsed.scheme == "file":
        network, known = _from_file(parsed, trust)
    else:
        network, known = _built(parsed, download=download)
        if parsed.scheme != "python" and not parsed.asks_for_trained_weights:
            way = {"torchvision": "weights=DEFAULT", "timm": "pretrained=true"}[parsed.scheme]
            _log.warning("%s has random weights; ask for trained ones with %s.", address, way)
    network = network.to(device=device, dtype=dtype)
    model = Preprocessed(network, **(known | parsed.preprocessing())).to(device).eval()
    model.address = address
    return model


def _built(address: Address, *, download: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """The network of an address without a file, and the preprocessing it is known to need."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(address.seed)
        if address.scheme == "torchvision":
            return build_torchvision(address, download=download)
        if address.scheme == "timm":
            return build_timm(address, download=download)
        network = _function(address)(**address.arguments())
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"{address.text} must return a torch.nn.Module, got {type(network).__name__}."
        )
    if isinstance(network, Preprocessed):
        return network.network, network.preprocessing
    return network, {}


def _function(address: Address) -> Any:
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


def _from_file(address: Address, trust: Collection[str]) -> tuple[nn.Module, dict[str, Any]]:
    path = Path(address.name).expanduser()
    for key in address.query:
        if key not in ("architecture", *PREPROCESSING_KEYS):
            raise ValueError(
                f"a file's address takes architecture, mean, std and size, got {key!r} in "
                f"{address.text}; arguments of the network belong to its architecture."
                f"{did_you_mean(key, ('architecture', *PREPROCESSING_KEYS))}"
            )
    if "architecture" in address.query:
        card_path = path.with_suffix(".json")
        if card_path.exists():
            raise ValueError(
                f"{card_path} says already what {path.name} is: leave out architecture=, or move "
                "the card away."
            )
        architecture, known = parse_architecture(address.query["architecture"]), {}
        state = read_state_dict(path)
    else:
        state, card = read_checkpoint(path)
        architecture, known = (
            parse_architecture(card["architecture"]),
            card.get("preprocessing", {}),
        )
        if architecture.scheme == "python":
            _check_trusted(architecture, path, trust)
    # The preprocessing that a function gives its network is not used: a card has its own.
    network, _ = _built(architecture)
    load_strictly(network, state, f"{path} ({architecture.text})")
    return network, known


def _check_trusted(architecture: Address, path: Path, trust: Collection[str]) -> None:
    """Refuses a card that would call anything but a function made in a trusted module."""
    module, _, name = architecture.name.partition(":")
    if not any(module == trusted or module.startswith(f"{trusted}.") for trusted in trust):
        raise CheckpointError(
            f"the card of {path} asks to run {architecture.name}, and cards may run functions of "
            f"{', '.join(trust) or 'no package'} only. If you trust it, call "
            f"load_model(…, trust=({module!r},))."
        )
    origin = getattr(_function(architecture), "__module__", None)
    if name.startswith("_") or origin != module:
        raise CheckpointError(
            f"the card of {path} asks to run {architecture.name}, which is not a public function "
            f"of that module (it is from {origin}): correct the architecture."
        )
