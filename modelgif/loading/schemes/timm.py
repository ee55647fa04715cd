"""``timm:NAME``: networks of timm, with random weights or with trained ones."""

import importlib
import logging
from collections.abc import Collection

from modelgif.loading.address import Address
from modelgif.loading.library import call_builder, check_cached, check_name, import_library
from modelgif.loading.scheme import Built, Scheme

_log = logging.getLogger("modelgif")

# Arguments by which timm would read or fetch weights other than those the address names.
_REFUSED = (
    *("cache_dir", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"),
    "pretrained_model_args",
)


def build_timm(address: Address, *, download: bool, trust: Collection[str] = ()) -> Built:
    """Returns the timm network of an address, and the preprocessing of its trained weights.

    Args:
        address: with ``pretrained=true`` in the query, trained; without, random.
        download: whether trained weights may be fetched when they are not in the local cache.
        trust: not needed.

    Raises:
        ImportError: when timm is not installed.
        ValueError: for unknown names or arguments, or a network without trained weights.
        FileNotFoundError: when trained weights are not there.
    """
    timm = import_library(address)
    names = [*timm.list_models(), *timm.list_models(pretrained=True)]
    check_name(address, names, refused=_REFUSED)
    arguments = address.arguments("pretrained") | {"model_name": address.name}
    if not address.asks_for_trained_weights:
        return call_builder(timm.create_model, address, arguments), {}
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
        check_cached(config.url, download=download)
    elif not download:
        file = _hub_file(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
        arguments["pretrained_cfg_overlay"] = {"file": file}
    network = call_builder(timm.create_model, address, arguments | {"pretrained": True})
    data = timm.data.resolve_model_data_config(network)
    return network, {"mean": data["mean"], "std": data["std"], "size": data["input_size"][1:]}


def _hub_file(repository: str, name: str) -> str:
    hub = importlib.import_module("huggingface_hub")
    file = hub.try_to_load_from_cache(repository, name)
    if not isinstance(file, str):
        raise FileNotFoundError(
            f"the trained weights {name} of {repository} are not in {hub.constants.HF_HUB_CACHE}: "
            "call load_model(…, download=True) once where there is a network."
        )
    return file


SCHEME = Scheme(
    name="timm",
    example="timm:resnet18?pretrained=true",
    summary="a network of timm, with its trained weights or random ones",
    build=build_timm,
    is_architecture=True,
    library="timm",
    extra="timm",
    trained="pretrained=true",
)
