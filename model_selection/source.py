"""The source: what models are pretrained on, and what is kept from them."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from model_selection.config import ModelSelectionConfig, Text
from model_selection.draws import balanced_rows
from modelgif.data.data import load_data
from modelgif.data.image_data import ImageData
from modelgif.experiment.config import DataConfig
from modelgif.experiment.seeding import seeded_generator


@dataclass(frozen=True, eq=False)
class Source:
    """The source's images in memory, and who may see them.

    Attributes:
        data: training images to pretrain on, and as test images those held out; labels are
            positions in the classes that are pretrained on.
        whole: the data set that they are drawn from.
        free: rows of its training images that are neither, ``[F]`` ascending.
    """

    data: ImageData
    whole: ImageData
    free: Tensor


def load_source(config: ModelSelectionConfig) -> Source:
    """Returns the source of a configuration.

    Raises:
        FileNotFoundError: when its files are missing; the message says where to get them.
        ValueError: for classes that the data set does not have, or too few images.
    """
    source = config.source
    whole = read_data(source.data, source.origin)
    classes = source.classes or tuple(range(len(whole.classes)))
    wrong = [label for label in classes if label >= len(whole.classes)]
    if wrong or len(set(classes)) < len(classes):
        raise ValueError(
            f"source.classes must be different labels below {len(whole.classes)}, the classes of "
            f"{whole.name}, got {list(classes)}."
        )
    rows, labels = relabelled(whole.train_labels, [(label,) for label in classes])
    generator = seeded_generator(config.seed, "source")
    if source.n_held_out >= len(rows):
        raise ValueError(
            f"source.n_held_out must be below {len(rows)}, the images of the source's classes, "
            f"got {source.n_held_out}."
        )
    held_out = balanced_rows(
        labels, source.n_held_out, generator=generator, what="source.n_held_out"
    )
    others = torch.ones(len(rows), dtype=torch.bool)
    others[held_out] = False
    left = others.nonzero().flatten()
    drawn = balanced_rows(labels[left], source.n_train, generator=generator, what="source.n_train")
    shown = left[drawn]
    free = torch.ones(len(whole.train_labels), dtype=torch.bool)
    free[rows[torch.cat([shown, held_out])]] = False
    images = whole.train_images
    data = ImageData(
        whole.name,
        images[rows[shown]],
        labels[shown],
        images[rows[held_out]],
        labels[held_out],
        tuple(whole.classes[label] for label in classes),
    )
    return Source(data, whole, free.nonzero().flatten())


def relabelled(labels: Tensor, groups: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Returns the rows whose label is in a group, ascending, and the positions of their groups."""
    new = torch.full((int(labels.max()) + 1,), -1)
    for position, group in enumerate(groups):
        new[[label for label in group if label < len(new)]] = position
    rows = (new[labels] >= 0).nonzero().flatten()
    return rows, new[labels[rows]]


def read_data(config: DataConfig, origin: Text | None) -> ImageData:
    """Returns a data set, kept in memory until two others have been read.

    Raises:
        FileNotFoundError: when its files are missing; the message says where to get them.
    """
    try:
        return _load(**config.model_dump())
    except FileNotFoundError as error:
        if origin is None:
            raise
        raise FileNotFoundError(f"{error} Get {config.root} from: {origin}") from error


_load = lru_cache(maxsize=2)(load_data)
