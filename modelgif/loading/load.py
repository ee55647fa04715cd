"""Models by address or path: ``load_model("torchvision:resnet18?weights=DEFAULT")``."""

import logging
import os
from collections.abc import Collection

import torch

from modelgif.fields.number_format import compute_dtype, refuse_quantised
from modelgif.loading.address import PREPROCESSING_KEYS, as_address, parse_address, with_query
from modelgif.loading.build import build_network
from modelgif.loading.preprocessing import Preprocessed
from modelgif.loading.schemes import find_scheme
from modelgif.loading.trust import TRUSTED

# What a keyword beside `architecture` says of the file, and not of the architecture.
_OF_THE_FILE = ("match", *PREPROCESSING_KEYS)

_log = logging.getLogger("modelgif")


def load_model(
    address: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    trust: Collection[str] = TRUSTED,
    download: bool = False,
    architecture: str | None = None,
    **arguments: object,
) -> Preprocessed:
    """Returns the model at an address or a path, in evaluation mode, behind its own preprocessing.

    - ``PATH`` or ``file:PATH``: a checkpoint of `modelgif.loading.checkpoint`; or the weights in a
      ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file without a card, with `architecture`; see
      `modelgif.loading.schemes.file.build_file`
    - ``torchvision:NAME``: trained with ``weights=DEFAULT`` or another of its names, else random
    - ``timm:NAME``: trained with ``pretrained=true``, else random
    - ``hf:FOLDER`` or ``hf:OWNER/NAME``: a trained image classifier of transformers, or its
      backbone with ``head=backbone``; see `modelgif.loading.schemes.hf.build_hugging_face`
    - and the other schemes in ``docs/addresses.md``

    The preprocessing is that of the trained weights or of the card, unless ``mean``, ``std`` and
    ``size`` are given. Random weights come from ``seed`` (0 by default), and torch's random state
    is left as it was.

    Args:
        address: ``scheme:name?key=value&key=value``, or the path of a file, which must have a
            suffix. Relative paths start at the current folder.
        device: where the model goes.
        dtype: the number format of its weights; by default the one they are stored in, or float32
            if that is less precise, which holds them exactly.
        trust: modules and packages whose functions a card may call, repositories whose code may
            run (``hub:OWNER/REPOSITORY``), and archives that may be read (``export:FILE.pt2``).
            A function in an address given here may be any; one in a card must be of a trusted
            module.
        download: whether trained weights may be fetched when they are not in the library's cache.
        architecture: address of the network that bare weights belong to.
        arguments: the same as in the query, as Python values: of the architecture if there is
            one (``match``, ``mean``, ``std`` and ``size`` are of the file), else of the address.

    Raises:
        ValueError: for a malformed address, an unknown name or argument.
        TypeError: for a quantised model, which has no gradients.
        ImportError: when the library or the module is not installed.
        FileNotFoundError: when trained weights are not in the library's cache.
        modelgif.loading.errors.CheckpointError: for files that are missing, damaged, refused, or
            of another architecture; `modelgif.loading.errors.UntrustedError` for code that is not
            trusted.

    Example:
        >>> model = load_model("torchvision:squeezenet1_1", num_classes=3, mean=0.5, std=0.25)
        >>> model.address
        'torchvision:squeezenet1_1?num_classes=3&mean=0.5&std=0.25'
        >>> list(model(torch.rand(2, 3, 64, 64)).shape)
        [2, 3]
    """
    text = as_address(address)
    if architecture is None:
        text = with_query(text, arguments)
    else:
        of_file = {key: value for key, value in arguments.items() if key in _OF_THE_FILE}
        others = {key: value for key, value in arguments.items() if key not in _OF_THE_FILE}
        text = with_query(text, {"architecture": with_query(architecture, others)} | of_file)
    parsed = parse_address(text)
    network, known = build_network(parsed, download=download, trust=trust)
    trained = find_scheme(parsed.scheme).trained
    if trained and not parsed.asks_for_trained_weights:
        _log.warning("%s has random weights; ask for trained ones with %s.", text, trained)
    refuse_quantised(network, text)
    if dtype is None:
        dtype = compute_dtype(network)
        if dtype is not None:
            _log.info("%s is stored in less than float32, and computed in %s.", text, dtype)
    network = network.to(device=device, dtype=dtype)
    model = Preprocessed(network, **(known | parsed.preprocessing())).to(device).eval()
    model.address = text
    return model
