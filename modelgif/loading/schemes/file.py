"""``file:PATH``: checkpoints with a card, and bare weights whose architecture is given."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from modelgif.loading.address import (
    PREPROCESSING_KEYS,
    Address,
    did_you_mean,
    parse_architecture,
)
from modelgif.loading.build import build_network
from modelgif.loading.checkpoint import check_digest, read_card
from modelgif.loading.errors import ArchitectureError, CheckpointError
from modelgif.loading.meta_build import bounded_by, build_on_meta, check_arguments
from modelgif.loading.scheme import Built, Scheme
from modelgif.loading.schemes import find_scheme
from modelgif.loading.state_dict import check_fit, in_order, load_strictly, read_state_dict

FILE_KEYS = ("architecture", "match", *PREPROCESSING_KEYS)
_MATCHES = ("name", "order")


def build_file(address: Address, *, download: bool = False, trust: Collection[str]) -> Built:
    """Returns the network of a checkpoint with its weights, and the preprocessing in its card.

    The network is first built without memory and compared with the file, so that neither a card
    nor a wrong architecture can fill the memory. Weights without a card need ``architecture=``
    (percent-encoded) in the query, and ``match=order`` if the same architecture has other names
    for its weights, see `modelgif.loading.state_dict.in_order`.

    Args:
        address: its name the path of a ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file.
        download: not needed: an architecture has no trained weights of its own.
        trust: what a card may run.

    Raises:
        ValueError: for other keys in the query.
        modelgif.loading.errors.CheckpointError: for files that are missing, damaged, refused, or
            of another architecture; `modelgif.loading.errors.UntrustedError` for code in a card.
    """
    path = Path(address.name).expanduser()
    match = _checked_match(address)
    card: dict[str, Any] | None = None
    if "architecture" in address.query:
        architecture = parse_architecture(address.query["architecture"])
        _check_there(path)
        card_path = path.with_suffix(".json")
        if card_path.exists():
            raise ValueError(
                f"{card_path} already says what {path.name} is: leave out architecture=, or move "
                "the card away."
            )
    else:
        _check_there(path)
        card = read_card(path)
        architecture = parse_architecture(card["architecture"])
        if check_card := find_scheme(architecture.scheme).check_card:
            check_card(architecture, path, trust)
    state = read_state_dict(path)
    origin = f"{path} ({architecture.text})"
    try:
        network = _fitting(architecture, state, card, path, match=match)
    except (CheckpointError, ImportError):
        raise
    except Exception as error:
        # A function or a library refuses arguments in its own way, and none knows the file.
        raise CheckpointError(
            f"{origin}: the architecture cannot be built as the network of these weights "
            f"({type(error).__name__}: {str(error)[:300]}). Correct it, or make the file again."
        ) from error
    if match == "order":
        state = in_order(network, state, path)
    load_strictly(network, state, origin)
    return network, {} if card is None else card.get("preprocessing", {})


def _checked_match(address: Address) -> str:
    for key in address.query:
        if key not in FILE_KEYS:
            raise ValueError(
                f"a file's address takes {', '.join(FILE_KEYS)}, got {key!r} in "
                f"{address.text}; arguments of the network belong to its architecture."
                f"{did_you_mean(key, FILE_KEYS)}"
            )
    match = address.query.get("match", "name")
    if match not in _MATCHES or (match == "order" and "architecture" not in address.query):
        raise ValueError(
            f"match must be {' or '.join(_MATCHES)}, and order goes with architecture=…, got "
            f"{match!r} in {address.text}."
        )
    return match


def _check_there(path: Path) -> None:
    card_path = path.with_suffix(".json")
    if os.path.lexists(path) or os.path.lexists(card_path):
        return
    start = "" if path.is_absolute() else f" (relative paths start in {Path.cwd()})"
    raise CheckpointError(
        f"there is no file {path}, and no card {card_path.name} beside it: correct the path{start}."
    )


def _fitting(
    architecture: Address,
    state: Mapping[str, Tensor],
    card: Mapping[str, Any] | None,
    path: Path,
    *,
    match: str,
) -> nn.Module:
    """The network of an architecture, built only if it fits the weights."""
    if card is not None:
        check_arguments(architecture, state)
    outline = _on_meta(architecture, state)
    if outline is not None:
        renamed = in_order(outline, state, path) if match == "order" else state
        check_fit(outline, renamed, f"{path} ({architecture.text})")
    if card is not None:
        # The longest step, for weights that fit.
        check_digest(state, card, path)
    # The preprocessing that a function gives its network is not used: a card has its own.
    with bounded_by(state):
        return build_network(architecture)[0]


def _on_meta(architecture: Address, state: Mapping[str, Tensor]) -> nn.Module | None:
    """The network on the meta device; None for one that computes with numbers while it is built."""
    try:
        return build_on_meta(lambda: build_network(architecture)[0], state)
    except ImportError:
        raise
    except Exception as error:
        if isinstance(error, ArchitectureError) or isinstance(error.__cause__, ArchitectureError):
            raise
        # torchvision's regnets do, and functions may. Any other fault shows when it is built.
        return None


SCHEME = Scheme(
    name="file",
    example="file:victim.safetensors",
    summary="a checkpoint with its card, or bare weights with architecture=ADDRESS",
    build=build_file,
    is_path=True,
)
