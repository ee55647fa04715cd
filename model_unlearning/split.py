"""The split: which images are to be forgotten, and which unseen ones are like them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model_unlearning.config import ClassConfig, UnlearningConfig
from modelgif.data.data import load_data
from modelgif.data.image_data import ImageData
from modelgif.experiment.seeding import seeded_generator


@dataclass(frozen=True, eq=False)
class Split:
    """Images in memory, and what of them is forgotten.

    Attributes:
        data: training images as far as they are learnt, and test images.
        forgotten: which training images are to be forgotten, ``[N]`` of bool.
        held_out: which test images are like them, ``[M]`` of bool: of the forgotten class, or all
            of them when a random subset is forgotten.
        remaining: which test images show what is retained, ``[M]`` of bool: those
            of the other classes, or all.
    """

    data: ImageData
    forgotten: Tensor
    held_out: Tensor
    remaining: Tensor


def make_split(config: UnlearningConfig) -> Split:
    """Returns the split that a configuration asks for.

    Raises:
        ValueError: when there are fewer images, or classes, than it asks for.
    """
    data = load_data(**config.data.model_dump())
    count = len(data.train_labels)
    if config.n_training_images is not None:
        if config.n_training_images > count:
            raise ValueError(
                f"n_training_images must be at most {count}, the size of {data.name}, "
                f"got {config.n_training_images}."
            )
        generator = seeded_generator(config.seed, "training images")
        rows = torch.randperm(count, generator=generator)[: config.n_training_images]
        images, labels = data.train_images[rows], data.train_labels[rows]
        data = replace(data, train_images=images, train_labels=labels)
        count = len(rows)
    if isinstance(config.forget, ClassConfig):
        label = config.forget.label
        if label >= len(data.classes):
            raise ValueError(
                f"forget.label must be below {len(data.classes)}, the classes of {data.name}, "
                f"got {label}."
            )
        held_out = data.test_labels == label
        return Split(data, data.train_labels == label, held_out, ~held_out)
    if config.forget.count >= count:
        raise ValueError(
            f"forget.count must be below {count}, the training images, got {config.forget.count}."
        )
    order = torch.randperm(count, generator=seeded_generator(config.seed, "forgotten images"))
    forgotten = torch.zeros(count, dtype=torch.bool)
    forgotten[order[: config.forget.count]] = True
    everything = torch.ones(len(data.test_labels), dtype=torch.bool)
    return Split(data, forgotten, everything, everything)
