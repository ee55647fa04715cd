"""Which independent models are asked for, and which of them a folder holds already."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelgif.data.image_data import ImageData
from modelgif.experiment.config import dump_config, load_config
from modelgif.experiment.private_seeds import private_seeds
from modelgif.experiment.seeding import seeded_generator
from modelgif.experiment.starting_network import StartingNetwork
from modelgif.experiment.training import TrainingConfig
from modelgif.experiment.training_recipe import FineTuneRecipe, ScratchRecipe
from modelgif.loading.checkpoint import is_complete, read_card

_RECIPE = "recipe.yaml"
# What a card says of training, of where something was found, or of the file.
_NOT_COMPARED = ("accuracy", "data", "parent", "schema_version", "weights_sha256")


@dataclass(frozen=True)
class IndependentPlan:
    """What each independent model depends on, and where it goes.

    Attributes:
        start: what they are trained from.
        recipe: how they are trained.
        folder: of their checkpoints.
        count: how many; they are numbered from 1 on.
        seeds: one per model.
        subset: share of each class's training images that each learns.
        device: where they are trained.
        data: name of the data set.
        data_sha256: its digest.
        n_images: how many images each learns.
        chance: accuracy of always giving the class that is most frequent among the test images.
    """

    start: StartingNetwork
    recipe: TrainingConfig
    folder: Path
    count: int
    seeds: tuple[int, ...]
    subset: float
    device: torch.device
    data: str
    data_sha256: str
    n_images: int
    chance: float

    def seed(self, number: int) -> int:
        """Returns the seed of a model."""
        return self.seeds[number - 1]

    def path(self, number: int) -> Path:
        """Returns where the weights of a model are; its card is beside them."""
        return self.folder / f"independent-{number:03d}.safetensors"

    def card(self, number: int) -> dict[str, Any]:
        """Returns what the card of a model says before training."""
        return {
            "architecture": self.start.architecture,
            "preprocessing": self.start.preprocessing,
            "role": "independent",
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed(number),
            "subset": self.subset,
            "parent": self.start.ancestor,
            "parent_sha256": self.start.ancestor_sha256,
            "replaced_layers": list(self.start.replaced),
            "data": self.data,
            "data_sha256": self.data_sha256,
            "n_classes": self.start.n_classes,
            "n_images": self.n_images,
            "chance": self.chance,
        }

    def missing(self) -> list[int]:
        """Returns the numbers of the models that are not complete in the folder.

        Raises:
            ValueError: when the folder holds anything else than models of this plan, which includes
                more of them than are asked for.
        """
        advice = f"Nothing was changed; choose another folder than {self.folder}."
        recipe, there = self.folder / _RECIPE, sorted(self.folder.glob("*.safetensors"))
        if recipe.exists():
            found = load_config(TrainingConfig, recipe).model_dump(mode="json")
            _check_same(found, self.recipe.model_dump(mode="json"), recipe, advice)
        elif there:
            raise ValueError(
                f"{there[0]} is not an independent model made here, which would have {_RECIPE} "
                f"beside it. {advice}"
            )
        complete = set()
        for path in there:
            number = _number(path)
            if number is None:
                raise ValueError(f"{path} is not one of the independent models. {advice}")
            if is_complete(path):
                _check_same(read_card(path), self.card(number), path, advice)
                complete.add(number)
        return [number for number in range(1, self.count + 1) if number not in complete]

    def claim_folder(self) -> None:
        """Makes the folder, with the recipe in it by which `missing` recognises it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        recipe = self.folder / _RECIPE
        # One that is there says the same, perhaps with comments.
        if not recipe.exists():
            dump_config(self.recipe, recipe)

    def training_rows(self, labels: Tensor, number: int) -> Tensor:
        """Returns the rows of `labels` ``[N]`` that a model learns, in their order."""
        return _rows(labels, self.subset, self.seed(number))


def plan_independents(
    start: StartingNetwork,
    data: ImageData,
    folder: str | os.PathLike[str],
    *,
    count: int = 19,
    recipe: TrainingConfig | None = None,
    seed: int = 0,
    subset: float = 0.8,
    device: torch.device | str = "cpu",
) -> IndependentPlan:
    """Returns the plan of `count` independent models; nothing is read or written.

    Args:
        start: see `modelgif.experiment.starting_network.starting_network`.
        data: training images, and test images for the accuracy.
        folder: of the checkpoints.
        count: how many models.
        recipe: how to train; by default `ScratchRecipe`, or `FineTuneRecipe` from an ancestor.
        seed: not negative; the models' own seeds are drawn from it. The first models do not depend
            on `count`.
        subset: share of each class's training images that each model learns, in (0, 1]. A class
            keeps at least one.
        device: where they are trained.

    Raises:
        ValueError: for arguments out of range, and data with one class.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    if not 0 < subset <= 1:
        raise ValueError(f"subset must be above 0 and at most 1, got {subset}.")
    if len(data.classes) < 2:
        raise ValueError(
            f"{data.name} must have at least 2 classes, got {', '.join(data.classes)} alone: a "
            "folder of images has one folder per class."
        )
    if recipe is None:
        recipe = ScratchRecipe() if start.ancestor is None else FineTuneRecipe()
    folder = Path(folder).expanduser()
    # More models than are asked for may be there, and must be of this plan, too.
    numbers = [number for path in folder.glob("*.safetensors") if (number := _number(path))]
    return IndependentPlan(
        start=start,
        recipe=recipe,
        folder=folder,
        count=count,
        seeds=private_seeds(seed, max([count, *numbers])),
        subset=subset,
        device=torch.device(device),
        data=data.name,
        data_sha256=data.sha256(),
        n_images=len(_rows(data.train_labels, subset, 0)),
        chance=torch.bincount(data.test_labels).max().item() / len(data.test_labels),
    )


def _rows(labels: Tensor, subset: float, seed: int) -> Tensor:
    """The same share of each class, rounded up."""
    generator = seeded_generator(seed, "subset")
    rows = []
    for label in labels.unique():
        own = (labels == label).nonzero().flatten()
        kept = torch.randperm(len(own), generator=generator)[: math.ceil(subset * len(own))]
        rows.append(own[kept])
    return torch.cat(rows).sort().values


def _number(path: Path) -> int | None:
    """The number in a name that `IndependentPlan.path` gives, from 1 on."""
    digits = path.stem.removeprefix("independent-")
    if not digits.isdecimal() or path.stem != f"independent-{int(digits):03d}":
        return None
    return int(digits) or None


def _check_same(
    found: Mapping[str, Any], expected: Mapping[str, Any], path: Path, advice: str
) -> None:
    differing = [
        f"{key} is {_short(found.get(key))} there and {_short(expected.get(key))} here"
        for key in dict.fromkeys([*expected, *found])
        if key not in _NOT_COMPARED and found.get(key) != expected.get(key)
    ]
    if differing:
        raise ValueError(f"{path} was made otherwise: {'; '.join(differing)}. {advice}")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
