"""Rival methods on encoders: what each describes an encoder by, and how descriptions compare.

The features of an image are all its encoder's outputs, ``8 · H/16 · W/16`` numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modelgif.loading.preprocessing import Preprocessed
from modelgif.methods import METHODS, Method

# Images a pass: an encoder's inner layers are large.
_BATCH = 64


@dataclass(frozen=True)
class Whole:
    """A method that compares two encoders by all references together.

    Attributes:
        method: see `modelgif.methods`.
        options: of its ``describe``.
        on_network: whether it is applied behind the preprocessing, because its result depends on
            where the inputs have their zero.
    """

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)
    on_network: bool = False

    def describe(self, model: Preprocessed, images: Tensor) -> Any:
        """Returns the description of an encoder at `images` ``[N, 3, H, W]``, in [0, 1]."""
        options = dict(self.options) | {"batch_size": _BATCH}
        if not self.on_network:
            return self.method.describe(model, images, **options)
        if model.mean is None or model.std is None or model.size is not None:
            raise ValueError("expected an encoder whose preprocessing is a mean and a deviation.")
        images = (images.to(model.mean) - model.mean) / model.std
        return self.method.describe(model.network, images, chunk_size=_BATCH, **options)


@dataclass(frozen=True)
class Map:
    """A method that compares two encoders by attribution maps, at one reference after the other.

    Attributes:
        method: see `modelgif.methods`.
    """

    method: Method

    @property
    def has_baseline(self) -> bool:
        """Whether maps depend on a baseline."""
        return self.method.uses_baseline

    def describe(
        self, model: Preprocessed, images: Tensor, *, target: str, baseline: float | Tensor
    ) -> Tensor:
        """Returns an encoder's maps ``[N, 1, 3, H, W]`` at images in [0, 1]."""
        return self.method.describe(model, images, target=target, baseline=baseline)


# DDS standardises every feature over the references, which its authors call z-normalisation; with
# the linear similarity it is CKA of such features.
WHOLES: Mapping[str, Whole] = {
    "rsa": Whole(METHODS["rsa"]),
    "cka": Whole(METHODS["cka"]),
    "cka_standardised": Whole(METHODS["dds"], {"similarity": "linear"}),
    "dds_cosine": Whole(METHODS["dds"], {"similarity": "cosine"}),
    "dds_pearson": Whole(METHODS["dds"], {"similarity": "pearson"}),
    "dds_laplacian": Whole(METHODS["dds"], {"similarity": "laplacian"}),
    "depara": Whole(METHODS["depara"], on_network=True),
}
MAPS: Mapping[str, Map] = {name: Map(METHODS[name]) for name in ("saliency", "gradient_input")}
# The last step of a cumulative field: comes with fields at no cost.
LAST_STEP = "integrated_gradients"
RIVALS = (LAST_STEP, *MAPS, *WHOLES)


def whole_distances(name: str, models: Sequence[Preprocessed], images: Tensor) -> Tensor:
    """Returns the distances of all pairs of `models` by one of `WHOLES`, float64 ``[M, M]``."""
    whole = WHOLES[name]
    found = [_on_cpu(whole.describe(model, images)) for model in models]
    return all_pairs(found, whole.method.compare)


def all_pairs(found: Sequence[Any], compare: Callable[[Any, Any], float]) -> Tensor:
    """Returns what `compare` makes of all pairs of M descriptions, symmetric, ``[M, M]``."""
    distances = torch.zeros(len(found), len(found), dtype=torch.float64)
    for i, j in torch.combinations(torch.arange(len(found))).tolist():
        distances[i, j] = distances[j, i] = compare(found[i], found[j])
    return distances


def _on_cpu(description: Any) -> Any:
    """A description, tensor or graph, where there is room for those of all encoders."""
    return description.to("cpu")
