"""The zoo: an encoder for each task, and what each is trained on."""

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from modelgif.experiment.run import Run
from modelgif.experiment.seeding import resolve_device, seeded_generator
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from task_relatedness.config import RoomsConfig, TaskRelatednessConfig, ZooConfig
from task_relatedness.rooms.data_set import Rooms
from task_relatedness.tasks import TASKS, Task

Part = Literal["train", "transfer", "test", "references"]
# Cards may call the functions of these modules.
TRUSTED_NETWORKS = (
    "task_relatedness.learning.taskonomy_networks",
    "task_relatedness.learning.decoders",
)
# Pixels in [0, 1] become the encoder's, in [-1, 1].
PREPROCESSING = {"mean": [0.5] * 3, "std": [0.5] * 3}


class RoomsAndZoo(NamedTuple):
    """The settings of a zoo that is trained on rooms."""

    rooms: RoomsConfig
    zoo: ZooConfig


def of_rooms(config: TaskRelatednessConfig) -> RoomsAndZoo:
    """Returns the settings of a zoo that is trained on rooms.

    Raises:
        ValueError: for a configuration of published encoders.
    """
    if config.rooms is None or config.zoo is None:
        raise ValueError("published encoders are not trained: this needs rooms and zoo.")
    return RoomsAndZoo(config.rooms, config.zoo)


def task_named(name: str) -> Task:
    """Returns the task called `name`."""
    return next(task for task in TASKS if task.name == name)


def rows_of(role: Part, config: RoomsConfig) -> slice:
    """Returns which rooms serve as `role`, see `RoomsConfig`."""
    counts = {
        "train": config.n_train,
        "transfer": config.n_transfer,
        "test": config.n_test,
        "references": config.n_references,
    }
    names = list(counts)
    first = sum(counts[before] for before in names[: names.index(role)])
    return slice(first, first + counts[role])


def decoder_address(task: Task, rooms: Rooms, *, width: int) -> str:
    """Returns the address of a decoder of `task`, see `task_relatedness.learning.decoders`."""
    n_outputs = len(rooms.classes[task.name]) if task.channels is None else task.channels
    return (
        f"python:task_relatedness.learning.decoders:decoder?task={task.name}&n_outputs={n_outputs}"
        f"&side={rooms.images.shape[-1]}&width={width}"
    )


def task_inputs(task: Task, images: Tensor, *, noise: float, generator: torch.Generator) -> Tensor:
    """Returns what a network of `task` sees: `images`, or for denoising noisy ones.

    Args:
        task: which.
        images: ``[N, 3, H, W]`` in [0, 1].
        noise: standard deviation of Gaussian noise; the sum is cut to [0, 1].
        generator: CPU generator of the noise; nothing else draws.
    """
    if task.name != "denoising":
        return images
    added = noise * torch.randn(images.shape, generator=generator)
    return (images + added.to(images.device)).clamp(0, 1)


def fixed_inputs(config: TaskRelatednessConfig, task: Task, images: Tensor, role: Part) -> Tensor:
    """Returns what networks of `task` see of the rooms of one part; always with the same noise."""
    generator = seeded_generator(config.seed, "noise", role)
    return task_inputs(task, images, noise=of_rooms(config).zoo.noise, generator=generator)


def encoder_path(run: Run[TaskRelatednessConfig], task: str) -> Path:
    """Returns where the weights of a task's encoder are; their card is beside them."""
    return run.folder / "zoo" / f"{task}.safetensors"


def decoder_path(run: Run[TaskRelatednessConfig], task: str) -> Path:
    """Returns where the weights of a task's own decoder are; their card is beside them."""
    return run.folder / "zoo" / f"{task}-decoder.safetensors"


def load_encoder(run: Run[TaskRelatednessConfig], task: str) -> Preprocessed:
    """Returns a task's trained encoder, in evaluation mode on the device.

    It maps pixels in [0, 1], ``[B, 3, H, W]``, to features ``[B, 8, H / 16, W / 16]``.
    """
    return _load(run, encoder_path(run, task))


def load_decoder(run: Run[TaskRelatednessConfig], task: str) -> Preprocessed:
    """Returns the decoder that was trained with a task's encoder, on the device.

    It maps the encoder's features to answers as in `task_relatedness.learning.losses`.
    """
    return _load(run, decoder_path(run, task))


def _load(run: Run[TaskRelatednessConfig], path: Path) -> Preprocessed:
    device = resolve_device(run.config.device)
    return load_model(f"file:{path}", device=device, trust=TRUSTED_NETWORKS)
