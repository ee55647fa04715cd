"""What each task's network is trained to lower, room by room."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from task_relatedness.learning.pixel_pairs import pixel_pairs
from task_relatedness.tasks import Task

# Nearly zero but for few pixels that matter: the median of such a truth is zero, and an absolute
# error would be content with that.
SPARSE = ("curvature", "edge_texture", "edge_occlusion", "keypoints2d", "keypoints3d")


def room_losses(
    task: Task, known: Tensor, *, generator: torch.Generator
) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the loss of `task`, which maps outputs and targets of B rooms to losses ``[B]``.

    The mean absolute error for images, but the mean squared one for curvatures, edges and
    keypoints, see `SPARSE`; for vectors the mean squared error in units of each number's deviation,
    so that none is lost beside one that varies more; cross-entropy for classes of images and of
    pixels; and `embedding_losses` for segments.

    Args:
        task: outputs have its form, with scores ``[B, K, H, W]`` or ``[B, K]`` for classes and
            embeddings ``[B, D, h, w]`` for segments; targets as in
            `task_relatedness.rooms.data_set`.
        known: truth of the rooms that are learnt from, ``[N, ...]``.
        generator: CPU generator of the pixels at which segments are compared; nothing else draws.
    """
    if task.form == "segments":
        return partial(embedding_losses, generator=generator)
    if task.form in ("semantic", "class"):
        return _cross_entropies
    if task.form == "vector":
        return partial(_standardised_errors, known.std(0, correction=0).clamp(min=1e-3))
    return _squared_errors if task.name in SPARSE else _absolute_errors


def embedding_losses(embeddings: Tensor, segments: Tensor, *, generator: torch.Generator) -> Tensor:
    """Returns how badly embeddings tell pixels of one segment from pixels of another, ``[B]``.

    Two pixels at squared distance d between their embeddings are of one segment with probability
    2 / (1 + exp(d)). The loss is the cross-entropy of that, over all pairs of randomly drawn
    pixels, those of one segment and the others weighing alike. Source: Fathi et al., Semantic
    Instance Segmentation via Deep Metric Learning, arXiv 1703.10277, 2017.

    Args:
        embeddings: ``[B, D, h, w]``, see `task_relatedness.learning.pixel_pairs`.
        segments: ``[B, H, W]``, a number for each segment of a room.
        generator: CPU generator of the pixels.
    """
    distances, same = pixel_pairs(embeddings, segments, generator=generator)
    # -log(2 / (1 + exp(d))), and -log of the rest, which is tanh(d / 2). Pixels with the very same
    # embedding would have an infinite loss, and have no gradient to be driven apart by.
    near = F.softplus(distances) - math.log(2)
    apart = -(distances / 2).tanh().clamp(min=1e-6).log()
    return (_mean_where(near, same) + _mean_where(apart, ~same)) / 2


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    """The mean along the last dimension of some; zero where there are none."""
    return (values * where).sum(-1) / where.sum(-1).clamp(min=1)


def _absolute_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().flatten(1).mean(1)


def _squared_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().flatten(1).mean(1)


def _standardised_errors(std: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) / std).square().mean(1)


def _cross_entropies(scores: Tensor, classes: Tensor) -> Tensor:
    # One row a pixel: CUDA adds up the gradients of scores [B, K, H, W] in no fixed order.
    rows = scores.movedim(1, -1).flatten(0, -2)
    losses = F.cross_entropy(rows, classes.flatten(), reduction="none")
    return losses.reshape(len(scores), -1).mean(1)
