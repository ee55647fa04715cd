"""How long a training step takes, measured before training."""

import time

import torch
from torch import Tensor, nn

from modelgif.experiment.training import Trainer, TrainingConfig

# At most so many timed steps, or so many seconds of them.
_MOST_STEPS, _MOST_SECONDS = 5, 1.0
_LEARNING_RATE = 1e-12


def seconds_per_step(
    model: nn.Module, images: Tensor, labels: Tensor, config: TrainingConfig, *, n_images: int
) -> float:
    """Returns the median time of a training step on one thread, in seconds.

    The steps are too small to change `model` much, or to diverge. The first is taken with as few
    images as the last batch of an epoch has, so that a network that cannot be trained on so few
    fails here.

    Args:
        model: on its device.
        images: a batch of the size that `config` says, or all images if these are fewer.
        labels: of the batch.
        config: how it will be trained.
        n_images: how many images it will learn.

    Raises:
        ValueError: for a network that cannot be trained so.
    """
    last = n_images % len(images) or len(images)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        slow = config.model_copy(update={"learning_rate": _LEARNING_RATE})
        trainer = Trainer(model, n_images, slow, generator=torch.Generator())
        trainer.epoch(images[:last], labels[:last])
        trainer.epoch(images, labels)
        seconds: list[float] = []
        while len(seconds) < _MOST_STEPS and sum(seconds) < _MOST_SECONDS:
            begun = time.perf_counter()
            trainer.epoch(images, labels)
            seconds.append(time.perf_counter() - begun)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the network cannot be trained on {n_images} images {list(images.shape[1:])} in "
            f"batches of {len(images)}, the last of {last}: {error}"
        ) from error
    finally:
        torch.set_num_threads(threads)
    return sorted(seconds)[len(seconds) // 2]
