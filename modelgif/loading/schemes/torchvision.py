"""``torchvision:NAME``: networks of torchvision, with random weights or with trained ones."""

import inspect
from collections.abc import Collection

from modelgif.loading.address import Address, did_you_mean
from modelgif.loading.library import call_builder, check_cached, check_name, import_library
from modelgif.loading.scheme import Built, Scheme

# Arguments by which torchvision would fetch weights other than those the address names.
_REFUSED = ("pretrained", "pretrained_backbone", "weights_backbone", "progress")


def build_torchvision(address: Address, *, download: bool, trust: Collection[str] = ()) -> Built:
    """Returns the torchvision network of an address, and the preprocessing of its trained weights.

    Args:
        address: with ``weights`` in the query, trained; without, random.
        download: whether trained weights may be fetched when they are not in torch's hub folder.
        trust: not needed.

    Raises:
        ImportError: when torchvision is not installed.
        ValueError: for unknown names, weights or arguments.
        FileNotFoundError: when trained weights are not there.
    """
    models = import_library(address).models
    check_name(address, models.list_models(), refused=_REFUSED)
    builder = models.get_model_builder(address.name)
    arguments = address.arguments("weights") | {"weights": None}
    if "weights_backbone" in inspect.signature(builder).parameters:
        # Left to its default, a backbone would be downloaded.
        arguments["weights_backbone"] = None
    if not address.asks_for_trained_weights:
        return call_builder(builder, address, arguments), {}
    known = models.get_model_weights(address.name)
    name = address.query["weights"].removeprefix(f"{known.__name__}.")
    if name not in known.__members__:
        raise ValueError(
            f"{address.name} has the weights {', '.join(known.__members__)}, got {name!r}."
            f"{did_you_mean(name, known.__members__)}"
        )
    weights = known[name]
    check_cached(weights.url, download=download)
    network = call_builder(builder, address, arguments | {"weights": weights})
    transforms = weights.transforms()
    numbers = {
        "mean": getattr(transforms, "mean", None),
        "std": getattr(transforms, "std", None),
        "size": getattr(transforms, "crop_size", None),
    }
    return network, {key: value for key, value in numbers.items() if value is not None}


SCHEME = Scheme(
    name="torchvision",
    example="torchvision:resnet18?weights=DEFAULT",
    summary="a network of torchvision, with its trained weights or random ones",
    build=build_torchvision,
    is_architecture=True,
    library="torchvision",
    extra="experiments",
    trained="weights=DEFAULT",
)
