"""What an independent model is trained from: an architecture, or an ancestor with its weights."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modelgif.data.image_data import ImageData
from modelgif.fields.model import scores
from modelgif.fields.number_format import refuse_quantised
from modelgif.loading.address import (
    PREPROCESSING_KEYS,
    parse_address,
    parse_architecture,
    with_query,
)
from modelgif.loading.build import build_network
from modelgif.loading.checkpoint import read_card, weights_sha256
from modelgif.loading.preprocessing import Preprocessed
from modelgif.loading.schemes import all_schemes, find_scheme
from modelgif.loading.trust import TRUSTED


@dataclass(frozen=True)
class StartingNetwork:
    """A network before training, for images of known channels and classes.

    Attributes:
        architecture: its address, with as many classes as the images have.
        preprocessing: of the images, see `modelgif.loading.preprocessing.Preprocessed`.
        ancestor: address of the model whose weights it starts with; None for random weights.
        ancestor_sha256: digest of these weights, in float32.
        n_classes: how many it has.
        n_classes_before: how many the model at the given address has.
        replaced: names of the layers that have random weights although there is an ancestor,
            because another number of classes gives them another shape.
        trust: see `modelgif.loading.load.load_model`.
    """

    architecture: str
    preprocessing: dict[str, Any]
    ancestor: str | None
    ancestor_sha256: str | None
    n_classes: int
    n_classes_before: int
    replaced: tuple[str, ...]
    trust: tuple[str, ...]

    def build(self, seed: int) -> Preprocessed:
        """Returns a new network on the CPU, in evaluation mode.

        Args:
            seed: of the random weights: all of them, or those of the replaced layers.
        """
        network = _random(self.architecture, seed)
        if self.ancestor is not None:
            network.load_state_dict(
                network.state_dict() | _fitting(_weights(self.ancestor, self.trust), network)
            )
        return Preprocessed(network, **self.preprocessing).eval()


def starting_network(
    model: str,
    data: ImageData,
    *,
    fine_tune: bool = False,
    trust: Collection[str] = TRUSTED,
    download: bool = False,
) -> StartingNetwork:
    """Returns what independent models of the architecture of `model` are trained from.

    Images are prepared as for `model`. Where nothing is known of that, an ancestor takes pixels as
    they are, and for random weights they are normalised by the mean and the standard deviation of
    the training images.

    Args:
        model: address of a model whose card or address names its architecture.
        data: what will be learned.
        fine_tune: whether training starts with the weights of `model`, not with random ones.
        trust: see `modelgif.loading.load.load_model`.
        download: whether trained weights may be fetched.

    Raises:
        ValueError: for an address that names no architecture, an ancestor without trained weights,
            a network that does not take the images, or one that cannot have as many classes as the
            data.

    Example:
        >>> from modelgif.data.data import load_data
        >>> address = "python:modelgif.experiment.networks:convnet?in_channels=1&num_classes=4"
        >>> starting_network(address, load_data("digits"), fine_tune=True).replaced
        ('head',)
    """
    architecture, address = architecture_address(model), parse_address(model)
    trained = find_scheme(address.scheme).trained
    if fine_tune and trained and not address.asks_for_trained_weights:
        raise ValueError(
            f"{model} has random weights, which no model descends from: ask for trained ones with "
            f"{trained}, or train from random weights, each model from its own."
        )
    loaded = _loaded(model, trust, download)
    before = _count_classes(loaded, model, data)
    n_classes, trust = len(data.classes), tuple(trust)
    if before != n_classes:
        bare = _without(architecture, ("num_classes",))
        architecture = with_query(bare, {"num_classes": n_classes})
    try:
        network = _random(architecture, 0)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{model} has {before} classes, the images {n_classes}, and the architecture cannot be "
            f"built as {architecture} ({error}). Give images of {before} classes, or an "
            "architecture that takes num_classes."
        ) from error
    preprocessing = loaded.preprocessing
    if not fine_tune:
        preprocessing = preprocessing or _normalisation(data)
    made = _count_classes(Preprocessed(network, **preprocessing), architecture, data)
    if made != n_classes:
        raise ValueError(
            f"{architecture} must have {n_classes} classes, as the images have, got {made}: give "
            "an architecture whose num_classes is the number of its outputs."
        )
    weights = loaded.network.state_dict()
    fitting = _fitting(weights, network)
    layers = dict.fromkeys(
        name.rpartition(".")[0] or name for name in network.state_dict() if name not in fitting
    )
    if fine_tune and not fitting:
        raise ValueError(f"{architecture} has no weight in common with {model}.")
    return StartingNetwork(
        architecture=architecture,
        preprocessing=preprocessing,
        ancestor=model if fine_tune else None,
        ancestor_sha256=weights_sha256(loaded) if fine_tune else None,
        n_classes=n_classes,
        n_classes_before=before,
        replaced=tuple(layers) if fine_tune else (),
        trust=trust,
    )


def architecture_address(model: str) -> str:
    """Returns the address of the untrained network that the model at an address is made of.

    It can stand in a card: a checkpoint's is its card's, a library's is less what says which
    weights, and how images are prepared for them.

    Args:
        model: an address; of a checkpoint, the card alone is read.

    Raises:
        ValueError: for an address whose network no card can name.

    Example:
        >>> architecture_address("torchvision:resnet18?weights=DEFAULT&num_classes=1000")
        'torchvision:resnet18?num_classes=1000'
    """
    address = parse_address(model)
    if address.scheme == "file":
        if "architecture" in address.query:
            return parse_architecture(address.query["architecture"]).text
        return parse_architecture(read_card(Path(address.name).expanduser())["architecture"]).text
    scheme = find_scheme(address.scheme)
    if not scheme.is_architecture:
        known = ", ".join(f"{other.name}:" for other in all_schemes() if other.is_architecture)
        raise ValueError(
            f"{model} does not say which architecture to train: expected a checkpoint with a card, "
            f"file:PATH?architecture=…, or an address that begins with one of {known}."
        )
    of_weights = {scheme.trained_key, "seed", *PREPROCESSING_KEYS}
    return parse_architecture(_without(model, of_weights)).text


def require_same_network(ancestor: StartingNetwork, suspect: StartingNetwork) -> None:
    """Checks that what is made of an ancestor has the architecture of a suspect.

    Args:
        ancestor: what independent models are trained from.
        suspect: the same for a suspect's architecture and the same data.

    Raises:
        ValueError: naming the first weight that differs.
    """
    ours, theirs = (
        {name: tuple(tensor.shape) for name, tensor in start.build(0).network.state_dict().items()}
        for start in (ancestor, suspect)
    )
    differing = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
    if differing:
        raise ValueError(
            f"the ancestor {ancestor.ancestor} must have the suspect's architecture, "
            f"{suspect.architecture}, but {len(differing)} weights differ, {differing[0]} first: "
            f"give another ancestor, or none to train from random weights."
        )


def _random(architecture: str, seed: int) -> nn.Module:
    """The bare network with random weights; what may run was decided when the model was loaded."""
    address = with_query(_without(architecture, ("seed",)), {"seed": seed})
    return build_network(parse_address(address))[0]


def _loaded(model: str, trust: Collection[str], download: bool) -> Preprocessed:
    """The model at an address, as it is prepared for comparison but in float32."""
    address = parse_address(model)
    network, known = build_network(address, download=download, trust=trust)
    refuse_quantised(network, model)
    return Preprocessed(network.float(), **(known | address.preprocessing())).eval()


@lru_cache(maxsize=1)
def _weights(ancestor: str, trust: tuple[str, ...]) -> dict[str, Tensor]:
    """Read once per process, however many models start with them."""
    return _loaded(ancestor, trust, download=False).network.state_dict()


def _fitting(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The weights that have the shape of the network's of the same name."""
    return {
        name: weights[name]
        for name, tensor in network.state_dict().items()
        if name in weights and weights[name].shape == tensor.shape
    }


@torch.no_grad()
def _count_classes(model: Preprocessed, address: str, data: ImageData) -> int:
    images = data.test_images[:2]
    try:
        return scores(model(images), len(images)).shape[1]
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{address} does not take the images, which are {list(images.shape[1:])} (channels, "
            f"height, width): {error} Choose other channels or another size."
        ) from error


def _normalisation(data: ImageData) -> dict[str, Any]:
    images = data.train_images
    # A channel without contrast would be divided by zero.
    deviation = images.std((0, 2, 3)).clamp_min(1e-3)
    return {"mean": images.mean((0, 2, 3)).tolist(), "std": deviation.tolist()}


def _without(address: str, keys: Collection[str]) -> str:
    """The address less `keys` of its query; the others stay as they are spelled."""
    name, _, query = address.partition("?")
    kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in keys]
    return f"{name}?{'&'.join(kept)}" if kept else name
