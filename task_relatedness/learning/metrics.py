"""How good a network is at its task, in natural units, and how good one is that sees nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from sklearn.metrics import r2_score
from torch import Tensor
from torch.nn import functional as F

from modelgif.ranking import auc
from task_relatedness.learning.losses import SPARSE
from task_relatedness.learning.pixel_pairs import pixel_pairs
from task_relatedness.tasks import Task

N_PIXELS = 256


@dataclass(frozen=True)
class Metric:
    """A measure of answers.

    Attributes:
        name: as in tables.
        better: which way.
        measure: of answers and truth of N rooms.
    """

    name: str
    better: Literal["lower", "higher"]
    measure: Callable[[Tensor, Tensor], float]

    def is_better(self, value: float, other: float) -> bool:
        """Returns whether `value` is strictly better than `other`."""
        return value < other if self.better == "lower" else value > other


def metric_of(task: Task) -> Metric:
    """Returns the metric of `task`, whose answers are as in `task_relatedness.learning.losses`."""
    if task.name == "normal":
        return Metric("mean angle in degrees", "lower", mean_angle)
    if task.form == "segments":
        return Metric("AUC of pairs of pixels", "higher", segment_auc)
    if task.form == "semantic":
        return Metric("mean IoU", "higher", mean_iou)
    if task.form == "class":
        return Metric("accuracy", "higher", _accuracy)
    if task.form == "vector":
        return Metric("R², mean over numbers", "higher", _mean_r2)
    if task.name in SPARSE:
        return Metric("root mean squared error", "lower", _root_mean_squared_error)
    return Metric("mean absolute error", "lower", _mean_absolute_error)


def blind_answer(task: Task, targets: Tensor, *, n_outputs: int) -> Tensor:
    """Returns the best answer to rooms that one has not seen, given the truth of other rooms.

    ``[1, ...]``, of the form of an answer: each pixel's median where the metric is absolute error;
    each pixel's or number's mean where it is squared error, R² or an angle; how often each class
    occurs; and for segments the pixel's own place, as near pixels often belong together.

    Args:
        task: which.
        targets: truth of training rooms.
        n_outputs: how many classes there are.
    """
    if task.form == "segments":
        height, width = targets.shape[1:]
        rows, columns = torch.arange(height), torch.arange(width)
        return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None].float()
    if task.form in ("semantic", "class"):
        counts = [(targets == k).sum(0) for k in range(n_outputs)]
        return torch.stack(counts)[None].float()
    if metric_of(task).measure is _mean_absolute_error:
        return targets.median(0, keepdim=True).values
    return targets.mean(0, keepdim=True)


def mean_angle(outputs: Tensor, targets: Tensor) -> float:
    """Returns the mean angle between vectors ``[N, 3, H, W]``, in degrees, where there is one.

    Pixels whose truth is the zero vector do not count.
    """
    known = targets.square().sum(1) > 1e-6
    cosines = F.cosine_similarity(outputs.double(), targets.double(), dim=1)[known]
    return cosines.clamp(-1, 1).acos().rad2deg().mean().item()


def mean_iou(scores: Tensor, classes: Tensor) -> float:
    """Returns the mean over classes of intersection over union, all rooms taken together.

    Classes that are neither in the truth nor in the answers do not count.

    Args:
        scores: ``[N, K, H, W]``.
        classes: ``[N, H, W]``.
    """
    n_classes = scores.shape[1]
    pairs = classes.flatten() * n_classes + scores.argmax(1).flatten()
    counts = torch.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes).double()
    union = counts.sum(0) + counts.sum(1) - counts.diag()
    return (counts.diag() / union)[union > 0].mean().item()


def segment_auc(embeddings: Tensor, segments: Tensor) -> float:
    """Returns how often two pixels of one segment are nearer than two of different ones.

    Always of one room, and averaged over rooms; those with a single segment do not count.

    Args:
        embeddings: ``[N, D, h, w]``, see `task_relatedness.learning.pixel_pairs`.
        segments: ``[N, H, W]``.
    """
    generator = torch.Generator().manual_seed(0)
    values = []
    for room in zip(embeddings.split(1), segments.split(1), strict=True):
        distances, same = pixel_pairs(*room, generator=generator, n_pixels=N_PIXELS)
        if same.any() and not same.all():
            values.append(auc(distances[same].cpu(), distances[~same].cpu()))
    return sum(values) / len(values)


def _accuracy(scores: Tensor, classes: Tensor) -> float:
    return (scores.argmax(1) == classes).double().mean().item()


def _mean_absolute_error(outputs: Tensor, targets: Tensor) -> float:
    return (outputs.double() - targets).abs().mean().item()


def _root_mean_squared_error(outputs: Tensor, targets: Tensor) -> float:
    return (outputs.double() - targets).square().mean().sqrt().item()


def _mean_r2(outputs: Tensor, targets: Tensor) -> float:
    return float(r2_score(targets.double().cpu().numpy(), outputs.double().cpu().numpy()))
