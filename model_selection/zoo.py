"""The zoo: which pretrained models there are."""

from dataclasses import dataclass

from model_selection.config import ModelSelectionConfig, PublishedConfig
from model_selection.pretraining_config import PretrainingConfig


@dataclass(frozen=True)
class PretrainedModel:
    """One pretrained model.

    Attributes:
        name: unique in the zoo; the name of its file.
        architecture: a name of `modelgif.experiment.backbone`, or an address.
        pretraining: what it learnt before.
        origin: how to make it, or where to read it.
    """

    name: str
    architecture: str
    pretraining: str
    origin: PretrainingConfig | PublishedConfig


def roster(config: ModelSelectionConfig) -> list[PretrainedModel]:
    """Returns all members of the zoo: first those to train, then the published ones."""
    members = [
        PretrainedModel(f"{group.name or group.pretraining}-{name}", name, group.pretraining, group)
        for group in config.zoo
        for name in group.architectures
    ]
    members += [
        PretrainedModel(name, group.architecture, group.pretraining or name, group)
        for group in config.published
        for name in group.models
    ]
    return members
