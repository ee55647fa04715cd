"""``hf:OWNER/NAME`` or ``hf:FOLDER``: image classifiers and backbones of transformers."""

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from modelgif.loading.address import PREPROCESSING_KEYS, Address, did_you_mean
from modelgif.loading.image_processor import measured_preprocessing
from modelgif.loading.library import import_library
from modelgif.loading.scheme import Built, Scheme

_KEYS = ("head", "out_features", "revision")
_HEADS = ("classifier", "backbone")
# Nothing else of a repository is read: no code, no pickles.
_FILES = ["*.json", "*.safetensors"]
# Otherwise a config.json could name compiled attention kernels, to be fetched and run.
_SAFE: dict[str, Any] = {"local_files_only": True, "attn_implementation": "eager"}


class HuggingFace(nn.Module):
    """A model of transformers that takes images and gives one tensor of scores.

    Args:
        model: an image classifier, or a backbone with one feature map.
        reversed_channels: whether it takes blue, green, red.
    """

    def __init__(self, model: nn.Module, *, reversed_channels: bool = False) -> None:
        super().__init__()
        self.model = model
        self.reversed_channels = reversed_channels

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits ``[B, classes]``, or the feature map ``[B, C, H, W]``."""
        output = self.model(pixel_values=x.flip(1) if self.reversed_channels else x)
        return output.logits if "logits" in output else output.feature_maps[0]


def build_hugging_face(address: Address, *, download: bool, trust: Collection[str] = ()) -> Built:
    """Returns the trained model in a folder or repository, and its image processor's numbers.

    Only safetensors and JSON are read; code in a repository is neither fetched nor run. In the
    query, ``head=backbone`` asks for the feature map instead of class scores, ``out_features`` for
    another stage than the last, ``revision`` for a branch, tag or commit.

    Args:
        address: its name a folder, or else a repository ``owner/name``.
        download: whether a repository may be fetched when it is not in the local cache.
        trust: not needed.

    Raises:
        ImportError: when transformers is not installed.
        ValueError: for other keys; a model of another kind, quantised, or without all its weights;
            an image processor that is missing or does more than resize and rescale, when ``mean``,
            ``std`` and ``size`` do not take its place.
        FileNotFoundError: when folder, repository or weights are not there.
    """
    transformers = import_library(address)
    for key in address.arguments():
        if key not in _KEYS:
            raise ValueError(
                f"an hf: address takes {', '.join((*_KEYS, *PREPROCESSING_KEYS))}, got {key!r} in "
                f"{address.text}.{did_you_mean(key, (*_KEYS, *PREPROCESSING_KEYS))}"
            )
    folder = _folder(address, download)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, **_SAFE)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{address.text} is not a model that transformers {transformers.__version__} knows "
            f"(and code that comes with a model is never run): {_first_line(error)}"
        ) from error
    model = _model(transformers, address, folder, config)
    known, reversed_channels = {}, False
    if not set(address.preprocessing()) >= set(PREPROCESSING_KEYS):
        try:
            processor = transformers.AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            known, reversed_channels = measured_preprocessing(processor)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"the image processor of {address.text} cannot be used ({_first_line(error)}): say "
                "mean=…&std=…&size=… instead."
            ) from error
    return HuggingFace(model, reversed_channels=reversed_channels), known


def _folder(address: Address, download: bool) -> str:
    path = Path(address.name).expanduser()
    if path.is_dir():
        return str(path)
    hub = importlib.import_module("huggingface_hub")
    revision = address.query.get("revision")
    try:
        return hub.snapshot_download(
            address.name, revision=revision, allow_patterns=_FILES, local_files_only=not download
        )
    except (hub.errors.LocalEntryNotFoundError, hub.errors.HFValidationError) as error:
        raise FileNotFoundError(
            f"{address.name} is neither a folder nor a repository in "
            f"{hub.constants.HF_HUB_CACHE}{f' at {revision}' if revision else ''}: correct the "
            "path, or call load_model(…, download=True) once where there is a network."
        ) from error


def _model(transformers: Any, address: Address, folder: str, config: Any) -> nn.Module:
    if getattr(config, "quantization_config", None):
        raise ValueError(
            f"{address.text} is quantised, and integer arithmetic passes no gradient: load the "
            "model it was quantised from."
        )
    head = address.query.get("head", "classifier")
    if head not in _HEADS:
        raise ValueError(f"head must be {' or '.join(_HEADS)}, got {head!r} in {address.text}.")
    backbone = head == "backbone"
    known = getattr(
        transformers,
        "MODEL_FOR_BACKBONE_MAPPING" if backbone else "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING",
    )
    if type(config) not in known:
        raise ValueError(
            f"transformers has no {'backbone' if backbone else 'image classifier'} of the type "
            f"{config.model_type}, which {address.text} is."
        )
    if "out_features" in address.query:
        config.out_features = address.query["out_features"].split(",")
    if backbone and len(config.out_features) != 1:
        raise ValueError(
            f"{address.text} gives {len(config.out_features)} feature maps: choose one with "
            f"out_features=…, of {', '.join(config.stage_names)}."
        )
    # AutoBackbone asks the network even for a local folder.
    builder = known[type(config)] if backbone else transformers.AutoModelForImageClassification
    try:
        model, report = builder.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True, **_SAFE
        )
    except OSError as error:
        raise FileNotFoundError(
            f"{address.text} has no complete safetensors of its weights in {folder} (pickled ones "
            f"are not read): {_first_line(error)}"
        ) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"{address.text} holds no weights of {', '.join(missing[:3])}"
            f"{' …' if len(missing) > 3 else ''}, which would be random: it was not trained as a "
            f"{head}.{'' if backbone else ' Perhaps head=backbone is meant.'}"
        )
    return model


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


SCHEME = Scheme(
    name="hf",
    example="hf:microsoft/resnet-18",
    summary="a Hugging Face image classifier or backbone, from the hub or a folder",
    build=build_hugging_face,
    library="transformers",
    extra="hf",
)
