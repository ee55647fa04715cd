"""How a network learns a task, and how well it has."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from modelgif.experiment.training import Trainer, TrainingConfig
from task_relatedness.learning.decoders import fit_scale
from task_relatedness.learning.losses import room_losses
from task_relatedness.learning.metrics import blind_answer, metric_of
from task_relatedness.tasks import Task


def learn(
    model: nn.Module,
    task: Task,
    examples: Callable[[], tuple[Tensor, Tensor]],
    targets: Tensor,
    training: TrainingConfig,
    *,
    generator: torch.Generator,
) -> float:
    """Trains `model` in place, and returns the mean loss of the last epoch.

    Args:
        model: maps inputs to answers as in `task_relatedness.learning.losses`, by a
            `task_relatedness.learning.decoders.decoder`, which is fitted to the scale of `targets`
            first.
        task: whose loss is lowered.
        examples: gives the inputs and the targets of the next epoch, ``[N, ...]`` each, on the
            model's device.
        targets: the truth of what is learnt from, ``[N, ...]``, which sets scales.
        training: how.
        generator: CPU generator of everything random.
    """
    fit_scale(model, targets)
    losses = room_losses(task, targets, generator=generator)

    def loss(answers: Tensor, truth: Tensor) -> Tensor:
        return losses(answers, truth).mean()

    trainer = Trainer(model, len(targets), training, generator=generator, loss=loss)
    mean_loss = math.nan
    for _ in range(training.epochs):
        mean_loss = trainer.epoch(*examples())
    return mean_loss


def evaluate_answers(
    task: Task, answers: Tensor, targets: Tensor, seen: Tensor, training_targets: Tensor
) -> dict[str, object]:
    """Returns how good answers are, beside trivial ones, as a card and the roster say it.

    The trivial answer is that of `blind_answer`; in denoising the noisy image is one, too, and the
    better of both counts.

    Args:
        task: which.
        answers: to test rooms, ``[N, ...]``, as in `task_relatedness.learning.losses`.
        targets: their truth.
        seen: what was answered, ``[N, 3, H, W]``.
        training_targets: truth of the rooms that were learnt from.
    """
    metric = metric_of(task)
    blind = blind_answer(task, training_targets, n_outputs=answers.shape[1])
    trivial = metric.measure(blind.expand(len(targets), *blind.shape[1:]), targets)
    if task.name == "denoising":
        noisy = metric.measure(seen, targets)
        trivial = noisy if metric.is_better(noisy, trivial) else trivial
    value = metric.measure(answers, targets)
    return {
        "group": task.group,
        "metric": metric.name,
        "value": value,
        "trivial": trivial,
        "better": metric.better,
        "learnt": metric.is_better(value, trivial),
    }
