"""Models by address: ``load_model("torchvision:resnet18?weights=DEFAULT")``."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from modelgif.fields.number_format import refuse_quantised, working_precision
from modelgif.loading.address import (
    PREPROCESSING_KEYS,
    Address,
    did_you_mean,
    parse_address,
    parse_architecture,
)
from modelgif.loading.checkpoint import check_digest, read_card
from modelgif.loading.hugging_face import build_hugging_face
from modelgif.loading.meta_build import SkeletonError, bounded_by, build_skeleton, check_arguments
from modelgif.loading.preprocessing import Preprocessed
from modelgif.loading.python_function import build_python, check_card
from modelgif.loading.state_dict import (
    CheckpointError,
    check_fit,
    in_order,
    load_strictly,
    read_state_dict,
)
from modelgif.loading.torch_export import build_export
from modelgif.loading.torch_hub import build_hub
from modelgif.loading.torchvision_timm import Built, build_timm, build_torchvision
from modelgif.loading.trust import TRUSTED

_FILE_KEYS = ("architecture", "match", *PREPROCESSING_KEYS)
_MATCHES = ("name", "order")

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
    - ``hf:FOLDER`` or ``hf:OWNER/NAME``: a trained image classifier of transformers, or its
      backbone with ``head=backbone``; see `modelgif.loading.hugging_face.build_hugging_face`
    - ``hub:OWNER/REPOSITORY:ENTRY``: what an entry of torch.hub returns; needs `trust`
    - ``export:FILE.pt2``: a graph saved by torch.export; needs `trust`
    - ``file:PATH``: a checkpoint of `modelgif.loading.checkpoint`; or the weights in a
      ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file without a card, with
      ``architecture=ADDRESS`` (percent-encoded) in the query, and ``match=order`` where the same
      architecture has other names for its weights, see `modelgif.loading.state_dict.in_order`
    - ``python:PACKAGE.MODULE:FUNCTION``: what the function returns

    The preprocessing is that of the trained weights or of the card; ``mean``, ``std`` and ``size``
    in the query take its place. Random weights come from ``seed`` in the query (0), and torch's
    random state is left as it was. Other keys are arguments of the network, as Python literals.

    Args:
        address: ``scheme:name?key=value&key=value``. Relative paths start at the current folder.
        device: where the model goes.
        dtype: its precision; by default that of its weights, or float32 where they are stored in
            less, which holds them exactly.
        trust: modules and packages whose functions a card may call, repositories whose code may
            run (``hub:OWNER/REPOSITORY``), and archives that may be read (``export:FILE.pt2``). A
            function in an address typed here may be any, one in a card that came with a file may
            not.
        download: whether trained weights may be fetched when they are not in the library's cache.

    Raises:
        ValueError: for a malformed address, an unknown name or argument.
        TypeError: for a quantised model, which has no gradients.
        ImportError: when the library or the module is not installed.
        FileNotFoundError: when trained weights are not in the library's cache.
        modelgif.loading.state_dict.CheckpointError: for files that are missing, damaged, refused,
            or of another architecture; `modelgif.loading.trust.UntrustedError` for code that is not
            trusted.
    """
    parsed = parse_address(address)
    if parsed.scheme == "file":
        network, known = _from_file(parsed, trust)
    else:
        network, known = _built(parsed, download=download, trust=trust)
        way = {"torchvision": "weights=DEFAULT", "timm": "pretrained=true"}.get(parsed.scheme)
        if way and not parsed.asks_for_trained_weights:
            _log.warning("%s has random weights; ask for trained ones with %s.", address, way)
    refuse_quantised(network, address)
    if dtype is None:
        dtype = working_precision(network)
        if dtype is not None:
            _log.info("%s is stored in less than float32, and computed in %s.", address, dtype)
    network = network.to(device=device, dtype=dtype)
    model = Preprocessed(network, **(known | parsed.preprocessing())).to(device).eval()
    model.address = address
    return model


def _built(address: Address, *, download: bool = False, trust: Collection[str] = ()) -> Built:
    """The network of an address without a file, and the preprocessing it is known to need."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(address.seed)
        match address.scheme:
            case "torchvision":
                return build_torchvision(address, download=download)
            case "timm":
                return build_timm(address, download=download)
            case "hf":
                return build_hugging_face(address, download=download)
            case "hub":
                return build_hub(address, download=download, trust=trust)
            case "export":
                return build_export(address, trust=trust)
            case _:
                return build_python(address)


def _from_file(address: Address, trust: Collection[str]) -> Built:
    path = Path(address.name).expanduser()
    for key in address.query:
        if key not in _FILE_KEYS:
            raise ValueError(
                f"a file's address takes {', '.join(_FILE_KEYS)}, got {key!r} in "
                f"{address.text}; arguments of the network belong to its architecture."
                f"{did_you_mean(key, _FILE_KEYS)}"
            )
    match = address.query.get("match", "name")
    if match not in _MATCHES or (match == "order" and "architecture" not in address.query):
        raise ValueError(
            f"match must be {' or '.join(_MATCHES)}, and order goes with architecture=…, got "
            f"{match!r} in {address.text}."
        )
    if "architecture" in address.query:
        card_path = path.with_suffix(".json")
        if card_path.exists():
            raise ValueError(
                f"{card_path} says already what {path.name} is: leave out architecture=, or move "
                "the card away."
            )
        architecture, known = parse_architecture(address.query["architecture"]), {}
        card = None
        state = read_state_dict(path)
    else:
        card = read_card(path)
        architecture, known = (
            parse_architecture(card["architecture"]),
            card.get("preprocessing", {}),
        )
        if architecture.scheme == "python":
            check_card(architecture, path, trust)
        state = read_state_dict(path)
    origin = f"{path} ({architecture.text})"
    try:
        if card is not None:
            check_arguments(architecture, state)
        skeleton = _skeleton(architecture, state)
        if skeleton is not None:
            renamed = in_order(skeleton, state, path) if match == "order" else state
            check_fit(skeleton, renamed, origin)
        if card is not None:
            # The longest step, for weights that fit.
            check_digest(state, card, path)
        # The preprocessing that a function gives its network is not used: a card has its own.
        with bounded_by(state):
            network, _ = _built(architecture)
    except (CheckpointError, ImportError):
        raise
    except Exception as error:
        # A function or a library refuses arguments in its own way, and none knows the file.
        raise CheckpointError(
            f"{origin}: the architecture cannot be built as one of these weights "
            f"({type(error).__name__}: {str(error)[:300]}). Correct it, or make the file again."
        ) from error
    if match == "order":
        state = in_order(network, state, path)
    load_strictly(network, state, origin)
    return network, known


def _skeleton(architecture: Address, state: Mapping[str, Tensor]) -> nn.Module | None:
    """The network on the meta device; None for one that computes with numbers while it is built."""
    try:
        return build_skeleton(lambda: _built(architecture)[0], state)
    except ImportError:
        raise
    except Exception as error:
        if isinstance(error, SkeletonError) or isinstance(error.__cause__, SkeletonError):
            raise
        # torchvision's regnets do, and functions may. What else is wrong shows in earnest.
        return None
