"""Rendered rooms with the truth of all 17 tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from task_relatedness.config import RoomsConfig
from task_relatedness.rooms.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from task_relatedness.rooms.files import RoomSet, read_truth, read_views
from task_relatedness.rooms.render import render_rooms
from task_relatedness.rooms.truth.truths import IMAGE_TASKS
from task_relatedness.tasks import TASK_NAMES

CLASSES = {"segment_semantic": SEMANTIC_CLASSES, "class_object": OBJECT_CLASSES}


@dataclass(frozen=True)
class Rooms:
    """Images of rooms, and the truth about them.

    Attributes:
        images: ``[N, 3, H, W]`` float32 in [0, 1], sRGB.
        targets: by task; images ``[N, C, H, W]`` and vectors ``[N, C]`` are float32 and about in
            [-1, 1] or [0, 1], classes ``[N, H, W]`` or ``[N]`` and segments ``[N, H, W]`` int64.
        classes: names of the classes of segment_semantic and of class_object.
    """

    images: Tensor
    targets: dict[str, Tensor]
    classes: dict[str, tuple[str, ...]]

    def rows(self, rows: slice | Tensor) -> "Rooms":
        """Returns some of the rooms."""
        targets = {name: target[rows] for name, target in self.targets.items()}
        return replace(self, images=self.images[rows], targets=targets)


def load_rooms(
    config: RoomsConfig,
    seed: int,
    *,
    tasks: Sequence[str] = TASK_NAMES,
    render: bool = True,
) -> Rooms:
    """Returns the first ``config.count`` rooms of the set `seed`.

    A bigger set begins with a smaller one of the same size and samples.

    Args:
        config: where they are, and which.
        seed: of the set.
        tasks: whose truth is wanted; denoising's is the image, to which training adds noise.
        render: whether what is missing is rendered first; files are then written.

    Raises:
        ValueError: for unknown tasks.
        ImportError: when rooms are missing and Mitsuba is not installed.
        modelgif.storage.tensor_file.SealedFileError: without `render`, when a file is missing or
            damaged.
    """
    unknown = sorted(set(tasks) - set(TASK_NAMES))
    if unknown:
        raise ValueError(f"unknown tasks: {', '.join(unknown)}; known: {', '.join(TASK_NAMES)}.")
    rooms = RoomSet(config.folder, seed, config.size, config.samples)
    if render:
        render_rooms(rooms, config.count)
    parts = [_read(rooms, number, tasks) for number in rooms.numbers(config.count)]
    images = torch.cat([images for images, _ in parts])[: config.count]
    images = images.permute(0, 3, 1, 2).contiguous() / 255.0
    targets = {
        task: images
        if task in IMAGE_TASKS
        else _typed(torch.cat([truth[task] for _, truth in parts])[: config.count])
        for task in tasks
    }
    return Rooms(images, targets, dict(CLASSES))


def _read(rooms: RoomSet, number: int, tasks: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    truth = read_truth(rooms, number)
    images = torch.stack([torch.from_numpy(view.image) for view in read_views(rooms, number)])
    return images, {task: truth[task] for task in tasks if task not in IMAGE_TASKS}


def _typed(stored: Tensor) -> Tensor:
    return stored.float() if stored.is_floating_point() else stored.long()
