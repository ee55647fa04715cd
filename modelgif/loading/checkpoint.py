"""Checkpoints: weights as safetensors, and a JSON card of the same name that says what they are.

A card has the keys

- ``architecture``: the address of the network, such as ``torchvision:resnet18?num_classes=10``
- ``preprocessing``, optional: ``mean``, ``std`` and ``size``, see `modelgif.loading.preprocessing`
- ``weights_sha256``, ``schema_version`` and ``card_sha256``, set by the writer
- and any other: recipe, seed, parent, data, accuracy …
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from modelgif.loading.card import SCHEMA_VERSION, card_text, parse_card
from modelgif.loading.errors import CardError, CheckpointError
from modelgif.loading.preprocessing import Preprocessed, checked_preprocessing
from modelgif.loading.state_dict import read_state_dict
from modelgif.storage.atomic import whole_file, write_text
from modelgif.storage.digest import dense_tensors, tensors_sha256
from modelgif.storage.regular_file import missing_file


def weights_sha256(model: nn.Module | Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of a model's weights: names, dtypes, shapes and bytes, sorted by name.

    It depends on the content alone: not on device, memory layout, file format, or preprocessing
    (a `Preprocessed` model has the hash of its network).

    Args:
        model: a module, or a state dict.

    Raises:
        TypeError: for an entry of the state dict that is not a dense tensor.

    Example:
        >>> weights_sha256({"weight": torch.ones(2)})[:12]
        'e923f8a3fe55'
    """
    return tensors_sha256(_state(model))


def write_checkpoint(
    path: str | Path, model: nn.Module | Mapping[str, Tensor], card: Mapping[str, Any]
) -> None:
    """Writes weights to `path`, then their card beside it; the same content gives the same bytes.

    A process that is killed leaves a checkpoint that is not complete, see `is_complete`. Tensors
    that share memory are written once for each name.

    Args:
        path: ends in ``.safetensors``.
        model: a module, or a state dict. The preprocessing of a `Preprocessed` model goes to the
            card.
        card: at least the ``architecture``; ``weights_sha256`` and ``schema_version`` in it are
            replaced.

    Raises:
        ValueError: for a card that would not be read back, or contradicts the model's
            preprocessing.
        TypeError: for an entry of the state dict that is not a dense tensor.

    Example:
        >>> import tempfile
        >>> from modelgif import load_model
        >>> address = "python:modelgif.experiment.networks:convnet?in_channels=1&num_classes=10"
        >>> path = Path(tempfile.mkdtemp()) / "mine.safetensors"
        >>> write_checkpoint(path, load_model(address), {"architecture": address, "data": "digits"})
        >>> load_model(path).describe(8, 8).partition(": ")[2]
        'Classifier of 31,930 weights in float32, pixels in [0, 1] at 8×8'
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a checkpoint's weights go to a .safetensors file, got {path}.")
    card = dict(card) | {"schema_version": SCHEMA_VERSION, "weights_sha256": weights_sha256(model)}
    if isinstance(model, Preprocessed):
        stated = checked_preprocessing(card.setdefault("preprocessing", model.preprocessing))
        if stated != model.preprocessing:
            raise ValueError(
                f"the card's preprocessing {stated} is not the model's {model.preprocessing}: "
                "leave it out to record the model's, or write model.network to state another."
            )
    try:
        text = card_text(card)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the card of {path} must be plain finite JSON: {error}") from error
    # A copy of each: safetensors refuses tensors that share memory.
    tensors = {
        name: tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in sorted(_state(model).items())
    }
    with whole_file(path) as part:
        safetensors.torch.save_file(tensors, part, metadata={"format": "pt"})
    write_text(_card_path(path), text)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the weights at `path`, on the CPU, and the card whose digest they match.

    Raises:
        CheckpointError: when either is missing or damaged, or they do not belong together.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "mine.safetensors"
        >>> card = {"architecture": "timm:resnet18", "accuracy": 0.5}
        >>> write_checkpoint(path, {"weight": torch.ones(2, 3)}, card)
        >>> weights, card = read_checkpoint(path)
        >>> weights["weight"].shape, card["accuracy"]
        (torch.Size([2, 3]), 0.5)
    """
    card = read_card(path)
    state = read_state_dict(path)
    check_digest(state, card, path)
    return state, card


def check_digest(state: Mapping[str, Tensor], card: Mapping[str, Any], path: str | Path) -> None:
    """Checks that weights have the digest in their card.

    Raises:
        CheckpointError: when they are not.
    """
    found = weights_sha256(state)
    if found != card["weights_sha256"]:
        raise CheckpointError(
            f"the weights in {path} are not those of its card: expected SHA-256 "
            f"{card['weights_sha256'][:12]}…, got {found[:12]}…. The file was damaged or replaced, "
            f"or its writer was killed: make it and {_card_path(path).name} again."
        )


def read_card(path: str | Path) -> dict[str, Any]:
    """Returns the card of the weights at `path`, without reading these.

    Raises:
        CheckpointError: when it is missing or is not a card.
    """
    card_path = _card_path(path)
    if (note := missing_file(card_path)) is not None:
        raise CheckpointError(
            f"there is no card {card_path}{note}: a checkpoint is weights and a card. "
            "Make the checkpoint again, or, for weights from elsewhere, say what they are: "
            f"file:{Path(path).name}?architecture=…"
        )
    try:
        return parse_card(card_path)
    except (CardError, OSError) as error:
        raise CheckpointError(
            f"{card_path} is not a valid card; make the checkpoint again: {error}"
        ) from error


def is_complete(path: str | Path) -> bool:
    """Returns whether the weights at `path` and their card are there, valid, and of each other."""
    try:
        read_checkpoint(path)
    except CheckpointError:
        return False
    return True


def _card_path(path: str | Path) -> Path:
    return Path(path).with_suffix(".json")


def _state(model: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(model, Preprocessed):
        model = model.network
    return dense_tensors(model.state_dict() if isinstance(model, nn.Module) else model)
