"""Networks of torchvision and timm, with random weights or with trained ones."""

import hashlib
import importlib
import inspect
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from modelgif.loading.address import Address, did_you_mean

Built = tuple[nn.Module, dict[str, Any]]

_log = logging.getLogger("modelgif")

# Arguments by which the libraries would read or fetch weights other than those the address names.
_REFUSED = {
    "torchvision": ("pretrained", "pretrained_backbone", "weights_backbone", "progress"),
    "timm": (
        "cache_dir",
        "checkpoint_path",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
        "pretrained_model_args",
    ),
}


def build_torchvision(address: Address, *, download: bool) -> Built:
    """Returns the torchvision network of an address, and the preprocessing of its trained weights.

    Args:
        address: with ``weights`` in the query, trained; without, random.
        download: whether trained weights may be fetched when they are not in torch's hub folder.

    Raises:
        ImportError: when torchvision is not installed.
        ValueError: for unknown names, weights or arguments.
        FileNotFoundError: when trained weights are not there.
    """
    models = library("torchvision", "torchvision", "experiments").models
    _check(address, models.list_models())
    builder = models.get_model_builder(address.name)
    arguments = address.arguments("weights") | {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        # Left to its default, a backbone would be downloaded.
        arguments["weights_backbone"] = None
    if not address.asks_for_trained_weights:
        return _built(builder, address, arguments), {}
    known = models.get_model_weights(address.name)
    name = address.query["weights"].removeprefix(f"{known.__name__}.")
    if name not in known.__members__:
        raise ValueError(
            f"{address.name} has the weights {', '.join(known.__members__)}, got {name!r}."
            f"{did_you_mean(name, known.__members__)}"
        )
    weights = known[name]
    _check_cached(weights.url, download)
    network = _built(builder, address, arguments | {"weights": weights})
    transforms = weights.transforms()
    numbers = {
        "mean": getattr(transforms, "mean", None),
        "std": getattr(transforms, "std", None),
        "size": getattr(transforms, "crop_size", None),
    }
    return network, {key: value for key, value in numbers.items() if value is not None}


def build_timm(address: Address, *, download: bool) -> Built:
    """Returns the timm network of an address, and the preprocessing of its trained weights.

    Args:
        address: with ``pretrained=true`` in the query, trained; without, random.
        download: whether trained weights may be fetched when they are not in the local cache.

    Raises:
        ImportError: when timm is not installed.
        ValueError: for unknown names or arguments, or a network without trained weights.
        FileNotFoundError: when trained weights are not there.
    """
    timm = library("timm", "timm", "timm")
    _check(address, [*timm.list_models(), *timm.list_models(pretrained=True)])
    arguments = address.arguments("pretrained") | {"model_name": address.name}
    if not address.asks_for_trained_weights:
        return _built(timm.create_model, address, arguments), {}
    config = timm.get_pretrained_cfg(address.name)
    if config is None or not config.has_weights:
        raise ValueError(f"timm has no trained weights of {address.name}: leave out pretrained=.")
    if arguments.get("num_classes", config.num_classes) not in (0, config.num_classes):
        _log.warning(
            "%s: the trained head has %d classes, so this one has random weights.",
            address.text,
            config.num_classes,
        )
    if not config.hf_hub_id:
        _check_cached(config.url, download)
    elif not download:
        file = _hub_file(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
        arguments["pretrained_cfg_overlay"] = {"file": file}
    network = _built(timm.create_model, address, arguments | {"pretrained": True})
    data = timm.data.resolve_model_data_config(network)
    return network, {"mean": data["mean"], "std": data["std"], "size": data["input_size"][1:]}


def library(name: str, scheme: str, extra: str) -> ModuleType:
    """Returns a library that only the addresses of one scheme need.

    Raises:
        ImportError: when it is not installed, with the extra of this package that installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{scheme}: addresses need {name}: pip install 'modelgif[{extra}]'."
        ) from error


def _check(address: Address, names: Iterable[str]) -> None:
    names = list(names)
    if address.name not in names:
        raise ValueError(
            f"{address.scheme} has no model {address.name!r}.{did_you_mean(address.name, names)}"
        )
    refused = sorted(set(address.query) & set(_REFUSED[address.scheme]))
    if refused:
        trained = {"torchvision": "weights=DEFAULT", "timm": "pretrained=true"}[address.scheme]
        raise ValueError(
            f"{address.text} must not say {', '.join(refused)}: trained weights are asked for with "
            f"{trained}, and weights of your own with file:…?architecture=…"
        )


def _built(builder: Callable[..., nn.Module], address: Address, arguments: dict) -> nn.Module:
    try:
        return builder(**arguments)
    except Exception as error:
        # Each architecture refuses wrong arguments in its own way.
        raise ValueError(
            f"{address.text} cannot be built: {type(error).__name__}: {error}"
        ) from error


def _check_cached(url: str, download: bool) -> None:
    """Refuses trained weights that are not in torch's hub folder, or not what their name says."""
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


def _hub_file(repository: str, name: str) -> str:
    hub = importlib.import_module("huggingface_hub")
    file = hub.try_to_load_from_cache(repository, name)
    if not isinstance(file, str):
        raise FileNotFoundError(
            f"the trained weights {name} of {repository} are not in {hub.constants.HF_HUB_CACHE}: "
            "call load_model(…, download=True) once where there is a network."
        )
    return file
