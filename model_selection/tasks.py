"""The downstream tasks: images that no model was pretrained on, and their labels."""

from dataclasses import replace
from functools import lru_cache

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor

from model_selection.config import ModelSelectionConfig, TaskConfig
from model_selection.draws import balanced_rows
from model_selection.source import load_source, read_data, relabelled
from modelgif.data.image_data import ImageData
from modelgif.experiment.run import Run
from modelgif.experiment.seeding import seeded_generator


def task_names(config: ModelSelectionConfig) -> list[str]:
    """Returns the names of the tasks, in the order of the configuration."""
    return [task.name for task in config.tasks]


def task_config(config: ModelSelectionConfig, name: str) -> TaskConfig:
    """Returns the settings of the task called `name`.

    Raises:
        ValueError: when there is none.
    """
    for task in config.tasks:
        if task.name == name:
            return task
    raise ValueError(f"there is no task {name!r}; there are {', '.join(task_names(config))}.")


@lru_cache(maxsize=1)
def task_of(run: Run[ModelSelectionConfig], name: str) -> ImageData:
    """Returns the images of a task, see `load_task`; the last one stays in memory."""
    return load_task(run.config, name)


def load_task(config: ModelSelectionConfig, name: str) -> ImageData:
    """Returns the images of a task, with as many channels as the source's.

    None of them, in training or test, was pretrained on or held out from pretraining.

    Raises:
        FileNotFoundError: when its files are missing; the message says where to get them.
        ValueError: for an unknown task, labels that the data do not have, or too few images.
    """
    task = task_config(config, name)
    if task.data is None:
        source = load_source(config)
        whole, free = source.whole, source.free
    else:
        whole = read_data(task.data, task.origin)
        free = torch.arange(len(whole.train_labels))
    groups = task.groups or tuple((label,) for label in range(len(whole.classes)))
    wrong = sorted(label for group in groups for label in group if label >= len(whole.classes))
    if wrong:
        raise ValueError(
            f"the groups of the task {name} must hold labels below {len(whole.classes)}, the "
            f"classes of {whole.name}, got {wrong[0]}."
        )
    train, train_labels = _drawn(config, task, "train", whole.train_labels[free], list(groups))
    test, test_labels = _drawn(config, task, "test", whole.test_labels, list(groups))
    if task.noise:
        generator = seeded_generator(config.seed, "task", name, "noise")
        train_labels = with_noise(train_labels, len(groups), task.noise, generator=generator)
    data = ImageData(
        name,
        _taken(whole.train_images, free[train]),
        train_labels,
        _taken(whole.test_images, test),
        test_labels,
        tuple("+".join(whole.classes[label] for label in group) for group in groups),
    )
    # Channels that the zoo's own models take; published ones take 3, and a source of 3, too.
    like = read_data(config.source.data, config.source.origin).train_images
    return _with_channels(data, like.shape[1])


def with_noise(
    labels: Tensor, n_classes: int, share: float, *, generator: torch.Generator
) -> Tensor:
    """Returns labels ``[N]`` of which `share`, chosen at random, are another class's.

    All other classes are equally likely.
    """
    wrong = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    step = torch.randint(1, n_classes, wrong.shape, generator=generator)
    noisy = labels.clone()
    noisy[wrong] = (labels[wrong] + step) % n_classes
    return noisy


def _drawn(
    config: ModelSelectionConfig,
    task: TaskConfig,
    split: str,
    labels: Tensor,
    groups: list[tuple[int, ...]],
) -> tuple[Tensor, Tensor]:
    """The rows of a split that the task takes, and their new labels."""
    rows, new = relabelled(labels, groups)
    count = task.n_train if split == "train" else task.n_test
    generator = seeded_generator(config.seed, "task", task.name, split)
    what = f"n_{split} of the task {task.name}"
    drawn = balanced_rows(new, count, generator=generator, what=what)
    return rows[drawn], new[drawn]


def _taken(images: Tensor, rows: Tensor) -> Tensor:
    """The images of `rows`, not copied where these are all of them."""
    everything = len(rows) == len(images) and torch.equal(rows, torch.arange(len(images)))
    return images if everything else images[rows]


def _with_channels(data: ImageData, n_channels: int) -> ImageData:
    if data.train_images.shape[1] == n_channels:
        return data
    change = transforms.rgb_to_grayscale if n_channels == 1 else transforms.grayscale_to_rgb
    pixels = (change(data.train_images).clamp(0, 1), change(data.test_images).clamp(0, 1))
    return replace(data, train_images=pixels[0], test_images=pixels[1])
