"""The published zoo, read instead of trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from intellectual_property_protection.member import Member
from intellectual_property_protection.models.published_files import published_file, published_files
from modelgif.data.image_data import ImageData
from modelgif.experiment.networks import network_address
from modelgif.loading.errors import CheckpointError
from modelgif.loading.load import load_model
from modelgif.loading.state_dict import load_strictly, read_state_dict

# As in the ``dataset.py`` of the zoo's authors.
PREPROCESSING = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}
N_CHANNELS, N_CLASSES = 3, 10


@dataclass(frozen=True)
class PublishedZoo:
    """Builds members by reading them: takes the place of a `ModelBuilder`.

    Attributes:
        root: folder of the files.
        data: CIFAR-10, which the victim learnt.
        device: where models go.
    """

    root: Path
    data: ImageData
    device: torch.device

    def build(self, member: Member, parent: nn.Module | None) -> nn.Module:
        """Returns the published model of `member`, in evaluation mode; no parent is needed.

        Raises:
            modelgif.loading.errors.CheckpointError: for a file that is refused or damaged, or
                holds another network.
        """
        path = published_file(self.root, member)
        state = read_published(path)
        query = "".join(f"&{k}={','.join(map(str, v))}" for k, v in PREPROCESSING.items())
        model = load_model(_address(member) + query)
        load_strictly(model.network, state, f"{path} ({_address(member)})")
        return model.to(self.device)

    def data_of(self, member: Member) -> ImageData | None:
        """Returns CIFAR-10, or None for models of other labels, whose images are not at hand."""
        return self.data if member.label_set == "source" else None

    def robust_accuracy(self, model: nn.Module, member: Member) -> None:
        """Returns None: no attack is configured."""

    def card(self, member: Member) -> dict[str, object]:
        """Returns what the member's checkpoint says of the network and its data."""
        return {
            "architecture": _address(member),
            "preprocessing": PREPROCESSING,
            "data": self.data.name if member.label_set == "source" else member.label_set,
            "n_classes": N_CLASSES,
            "seed": None,
            "published_as": published_files()[member],
        }


def read_published(path: Path) -> dict[str, Tensor]:
    """Returns the weights at `path`, each mask of `torch.nn.utils.prune` multiplied in.

    Raises:
        modelgif.loading.errors.CheckpointError: for a missing or damaged file, or a pickled
            module, with the way to convert it.
    """
    try:
        return unmasked(read_state_dict(path))
    except CheckpointError as error:
        if path.suffix == ".safetensors" or not path.is_file():
            raise
        raise CheckpointError(
            f"{error} Or, where you trust the file, write its state dict, masks and all, to "
            f"{path.with_suffix('.safetensors').name} beside it: that is read in its place. (The "
            "published pruned models are modules with hooks of a class FeatureHook, which the "
            "converting program must define.)"
        ) from error


def unmasked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns `state` with ``name_orig`` times ``name_mask`` in the place of both, as ``name``."""
    masked = {name.removesuffix("_mask") for name in state if name.endswith("_mask")}
    kept = {k: v for k, v in state.items() if k.removesuffix("_mask") not in masked}
    for name in masked:
        kept[name] = kept.pop(f"{name}_orig") * state[f"{name}_mask"]
    return kept


def _address(member: Member) -> str:
    return network_address(member.architecture, N_CHANNELS, N_CLASSES)
