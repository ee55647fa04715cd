"""Builds the models of the zoo: pretrains one after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from model_selection.pretraining.learn import held_out_figure, learn
from model_selection.pretraining.make import make_pretext
from model_selection.pretraining_config import PretrainingConfig, RandomConfig
from model_selection.zoo import PretrainedModel
from modelgif.data.image_data import ImageData
from modelgif.experiment.backbone import (
    backbone_address,
    classifier_address,
    cut_head,
    feature_count,
)
from modelgif.experiment.seeding import derive_seed, seeded_generator
from modelgif.experiment.untrained import untrained


@dataclass(frozen=True, eq=False)
class PretrainedModelBuilder:
    """Pretrains models, each from its name and settings alone.

    Attributes:
        seed: random numbers of a model depend on it and on the model's name alone.
        data: images to pretrain on, and as test images those held out.
        device: where.
    """

    seed: int
    data: ImageData
    device: torch.device

    def build(
        self, member: PretrainedModel, group: PretrainingConfig
    ) -> tuple[nn.Module, dict[str, object]]:
        """Returns the pretrained model of `member`, in evaluation mode, and its card.

        It is a classifier of the source's classes after supervised pretraining, else a backbone.
        The card has what shows that something was learnt: ``pretext``, its ``untrained`` and
        ``pretrained`` value on held-out images, and the ``plain`` one of knowing nothing.

        Args:
            member: which.
            group: its settings.
        """
        n_channels = self.data.train_images.shape[1]
        n_classes = len(self.data.classes)
        supervised = group.pretraining == "supervised"
        architecture = classifier_address(member.architecture, n_channels, n_classes, group.width)
        seed = derive_seed(self.seed, member.name, "weights")
        images = self.data.train_images
        model: nn.Module = untrained(architecture, images, seed=seed, device=self.device)
        if not supervised:
            cut_head(model)
            architecture = backbone_address(member.architecture, n_channels, group.width)
        card: dict[str, object] = {
            "architecture": architecture,
            "network": member.architecture,
            "pretraining": group.model_dump(mode="json"),
            "n_classes": n_classes if supervised else None,
            "data": self.data.name,
            "data_sha256": self.data.sha256(),
            "seed": self.seed,
        }
        return model, card | self._pretrained(member, group, model)

    def _pretrained(
        self, member: PretrainedModel, group: PretrainingConfig, model: nn.Module
    ) -> dict[str, object]:
        """Trains `model` in place and returns what shows that something was learnt."""
        if isinstance(group, RandomConfig):
            unknown = ("pretext", "untrained", "pretrained", "plain")
            return {"n_images": 0, **{key: None for key in unknown}}
        data, draws = self.data, partial(seeded_generator, self.seed, member.name)
        mean = data.train_images.mean(0).to(self.device)
        n_features = feature_count(model, data.train_images[0])
        with _seeded(derive_seed(self.seed, member.name, "heads")):
            pretext = make_pretext(group, model, n_features, mean).to(self.device)
        shown = data.train_images, data.train_labels
        held_out = data.test_images, data.test_labels
        before = held_out_figure(pretext, *held_out, generator=draws("figure"))
        learn(pretext, *shown, group.training, generator=draws("pretraining"))
        after = held_out_figure(pretext, *held_out, generator=draws("figure"))
        return {
            "n_images": len(data.train_images),
            "pretext": after.quantity,
            "untrained": before.value,
            "pretrained": after.value,
            "plain": after.plain,
        }


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds torch's own random numbers, which new layers draw from, and puts them back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
