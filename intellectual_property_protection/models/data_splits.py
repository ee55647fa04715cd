"""What is learnt: the data set in two halves, and another label set for transfers."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.recipe import Data
from modelgif.data.data import load_data
from modelgif.data.image_data import ImageData
from modelgif.experiment.seeding import seeded_generator


def halves(config: IPPConfig, data: ImageData) -> dict[Data, ImageData]:
    """Returns the data set with the training images of the victim, and with those of all others.

    Attackers and honest models know the other half only, as in the paper's protocol.

    Raises:
        ValueError: when there are fewer training images than the configuration asks for.
    """
    count = len(data.train_labels)
    wanted = config.n_training_images or count
    if wanted > count:
        raise ValueError(
            f"n_training_images must be at most {count}, the training images of {data.name}, "
            f"got {wanted}."
        )
    order = torch.randperm(count, generator=seeded_generator(config.seed, "halves"))[:wanted]
    rows: dict[Data, Tensor] = {"victim": order[: wanted // 2], "other": order[wanted // 2 :]}
    return {name: _of_rows(data, part) for name, part in rows.items()}


def transfer_data(config: IPPConfig, other: ImageData) -> ImageData | None:
    """Returns the data of the other label set, or None where no model has it.

    Args:
        config: with the groups of labels, or the other data set.
        other: the half of the data set that attackers know.

    Raises:
        ValueError: for another data set whose images have another shape, or a label outside the
            data set.
    """
    if config.transfer is None:
        return None
    if config.transfer.groups:
        return regrouped(other, config.transfer.groups)
    assert config.transfer.data is not None
    data = load_data(**config.transfer.data.model_dump())
    shape, expected = (list(d.train_images.shape[1:]) for d in (data, other))
    if shape != expected:
        raise ValueError(
            f"the transfer's images {shape} must have the shape {expected} of the victim's: "
            "give transfer.data the same size."
        )
    if config.n_training_images is None:
        return data
    order = torch.randperm(
        len(data.train_labels), generator=seeded_generator(config.seed, "transfer")
    )
    return _of_rows(data, order[: len(other.train_labels)])


def regrouped(data: ImageData, groups: Sequence[Sequence[int]]) -> ImageData:
    """Returns the images whose label is in a group, with the position of the group as label.

    Raises:
        ValueError: for a label that the data set does not have.
    """
    known = range(len(data.classes))
    if unknown := [label for group in groups for label in group if label not in known]:
        raise ValueError(
            f"labels of {data.name} are 0 to {len(known) - 1}, got {unknown[0]} in a group."
        )
    new = torch.full((len(data.classes),), -1)
    for position, group in enumerate(groups):
        new[list(group)] = position
    train, test = new[data.train_labels], new[data.test_labels]
    return ImageData(
        f"{data.name} regrouped",
        data.train_images[train >= 0],
        train[train >= 0],
        data.test_images[test >= 0],
        test[test >= 0],
        tuple("+".join(data.classes[label] for label in group) for group in groups),
    )


def _of_rows(data: ImageData, rows: Tensor) -> ImageData:
    return replace(data, train_images=data.train_images[rows], train_labels=data.train_labels[rows])
