"""Independent models: the calibration set that a verdict needs, trained without the victim."""

import errno
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from modelgif.data.image_data import ImageData
from modelgif.experiment.independent_plan import IndependentPlan, plan_independents
from modelgif.experiment.parallel import for_each
from modelgif.experiment.seeding import derive_seed, seeded_generator
from modelgif.experiment.shared_images import SharedImages, read_shared, share_images
from modelgif.experiment.starting_network import StartingNetwork
from modelgif.experiment.training import Trainer, TrainingConfig, predict
from modelgif.experiment.training_time import seconds_per_step
from modelgif.loading.checkpoint import read_card, write_checkpoint
from modelgif.storage.atomic import DiskFullError

# A pass without gradients, in training steps.
_FORWARD = 1 / 3


@dataclass(frozen=True)
class Independents:
    """Independent models in a folder.

    Attributes:
        paths: their checkpoints, in order.
        skipped: names of those that were complete already.
        accuracies: on the test images, by name.
        untrained: names of those whose accuracy is `near_chance`. They do not belong in a
            calibration set: an untrained model is far from every trained one.
        chance: accuracy of always giving the class that is most frequent among the test images.
    """

    paths: tuple[Path, ...]
    skipped: tuple[str, ...]
    accuracies: Mapping[str, float]
    untrained: tuple[str, ...]
    chance: float


@dataclass(frozen=True)
class Estimate:
    """What it takes to make independent models.

    Attributes:
        n_models: how many are to be made.
        n_skipped: how many are complete already.
        n_images: how many images each learns.
        n_steps: training steps of all of them: one batch, forward and backward.
        seconds_per_step: as measured on one thread; 0 when there is nothing to do.
        workers: processes that share the work.
        seconds: for all of it.
        n_bytes: on disk.
    """

    n_models: int
    n_skipped: int
    n_images: int
    n_steps: int
    seconds_per_step: float
    workers: int
    seconds: float
    n_bytes: int


def make_independents(
    start: StartingNetwork,
    data: ImageData,
    folder: str | os.PathLike[str],
    *,
    count: int = 19,
    recipe: TrainingConfig | None = None,
    seed: int = 0,
    subset: float = 0.8,
    device: torch.device | str = "cpu",
    workers: int | None = 1,
) -> Independents:
    """Trains independent models and writes them to `folder`, each a checkpoint with its card.

    Each has a seed of its own, which gives its random weights, the images that it learns and their
    order. Models that are complete in the folder are not made again, and a call that was killed
    continues to the same bytes. The folder also gets the recipe, as ``recipe.yaml``.

    Args:
        start: see `modelgif.experiment.starting_network.starting_network`.
        data: training images, and test images for the accuracy.
        folder: of the checkpoints, made when missing.
        count: how many models.
        recipe: see `plan_independents`.
        seed: see `plan_independents`.
        subset: see `plan_independents`.
        device: where to train.
        workers: processes of one thread each; None is one per core. Another device than the CPU has
            one.

    Raises:
        ValueError: for arguments out of range, and a folder that holds other models, which stays as
            it was.
        modelgif.storage.atomic.DiskFullError: when there is no room for the models.
        ExceptionGroup: of the trainings that failed, when the others are done.

    Example:
        >>> from modelgif.data.data import load_data
        >>> from modelgif.experiment.starting_network import starting_network
        >>> digits, network = load_data("digits"), "python:modelgif.experiment.networks:convnet"
        >>> start = starting_network(f"{network}?in_channels=1&num_classes=10", digits)
        >>> made = make_independents(start, digits, "honest")  # doctest: +SKIP
    """
    plan = plan_independents(
        start, data, folder, count=count, recipe=recipe, seed=seed, subset=subset, device=device
    )
    missing = plan.missing()
    if missing:
        _check_disk(plan.folder, len(missing) * _n_bytes(start))
        plan.claim_folder()
        workers = _workers(workers, plan.device, len(missing))
        with share_images(data, workers) as source:
            make = partial(_make, plan, source, workers == 1)
            for_each(make, missing, title="independents", unit="model", workers=workers)
    paths = tuple(plan.path(number) for number in range(1, count + 1))
    accuracies = {path.stem: read_card(path)["accuracy"] for path in paths}
    made = {plan.path(number).stem for number in missing}
    n_tested = len(data.test_labels)
    return Independents(
        paths=paths,
        skipped=tuple(name for name in accuracies if name not in made),
        accuracies=accuracies,
        untrained=tuple(
            name for name, a in accuracies.items() if near_chance(a, plan.chance, n_tested)
        ),
        chance=plan.chance,
    )


def estimate_independents(
    start: StartingNetwork,
    data: ImageData,
    folder: str | os.PathLike[str],
    *,
    count: int = 19,
    recipe: TrainingConfig | None = None,
    seed: int = 0,
    subset: float = 0.8,
    device: torch.device | str = "cpu",
    workers: int | None = 1,
) -> Estimate:
    """Returns what `make_independents` with the same arguments takes, from a timed training step.

    Nothing is written.

    Raises:
        ValueError: as `make_independents` does, and for a network that cannot be trained on the
            images.

    Example:
        >>> from modelgif.data.data import load_data
        >>> from modelgif.experiment.starting_network import starting_network
        >>> digits, network = load_data("digits"), "python:modelgif.experiment.networks:convnet"
        >>> start = starting_network(f"{network}?in_channels=1&num_classes=10", digits)
        >>> estimate_independents(start, digits, "honest", count=2).n_steps
        1020
    """
    plan = plan_independents(
        start, data, folder, count=count, recipe=recipe, seed=seed, subset=subset, device=device
    )
    missing, per_step = plan.missing(), 0.0
    batch_size, epochs = plan.recipe.batch_size, plan.recipe.epochs
    if missing:
        batch = plan.training_rows(data.train_labels, 1)[:batch_size]
        images, labels = data.train_images[batch], data.train_labels[batch]
        with _random_numbers(plan.seed(1), plan.device):
            per_step = seconds_per_step(
                start.build(plan.seed(1)).to(plan.device),
                images.to(plan.device),
                labels.to(plan.device),
                plan.recipe,
                n_images=plan.n_images,
            )
    workers = _workers(workers, plan.device, len(missing))
    steps_per_model = epochs * math.ceil(plan.n_images / batch_size)
    test_steps = _FORWARD * math.ceil(len(data.test_labels) / batch_size)
    # In the last turn some workers may have nothing to do.
    turns = math.ceil(len(missing) / workers)
    return Estimate(
        n_models=len(missing),
        n_skipped=count - len(missing),
        n_images=plan.n_images,
        n_steps=len(missing) * steps_per_model,
        seconds_per_step=per_step,
        workers=workers,
        seconds=turns * (steps_per_model + test_steps) * per_step,
        n_bytes=len(missing) * _n_bytes(start),
    )


def near_chance(accuracy: float, chance: float, n_images: int) -> bool:
    """Returns whether a classifier is hardly better than always giving the most frequent class.

    Hardly better means by less than three standard errors of chance, or by less than a tenth of the
    way from chance to 1.

    Args:
        accuracy: share of correct answers.
        chance: the same of always giving the most frequent class.
        n_images: on how many images.

    Example:
        >>> near_chance(0.13, 0.1, 10_000), near_chance(0.8, 0.1, 450)
        (True, False)
    """
    standard_error = math.sqrt(chance * (1 - chance) / n_images)
    return accuracy < chance + max(3 * standard_error, 0.1 * (1 - chance))


def _make(
    plan: IndependentPlan, source: ImageData | SharedImages, show_epochs: bool, number: int
) -> None:
    """Trains one model and writes its checkpoint.

    Raises:
        RuntimeError: naming the model.
    """
    data, seed, path = read_shared(source), plan.seed(number), plan.path(number)
    rows = plan.training_rows(data.train_labels, number)
    images = data.train_images[rows].to(plan.device)
    labels = data.train_labels[rows].to(plan.device)
    epochs = range(plan.recipe.epochs)
    try:
        with _random_numbers(derive_seed(seed, "layers"), plan.device):
            model = plan.start.build(seed).to(plan.device)
            order = seeded_generator(seed, "order")
            trainer = Trainer(model, len(rows), plan.recipe, generator=order)
            for _ in tqdm(epochs, path.stem, unit="epoch", leave=False, disable=not show_epochs):
                trainer.epoch(images, labels)
    except (ValueError, RuntimeError) as error:
        raise RuntimeError(f"{path.stem}: {error}") from error
    correct = predict(model, data.test_images).argmax(1) == data.test_labels
    write_checkpoint(path, model, plan.card(number) | {"accuracy": correct.double().mean().item()})


@contextmanager
def _random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Gives layers such as dropout random numbers of `seed`; the caller's stay as they were."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield


def _workers(workers: int | None, device: torch.device, n_models: int) -> int:
    if device.type != "cpu":
        return 1
    return max(1, min(workers or os.cpu_count() or 1, n_models))


def _n_bytes(start: StartingNetwork) -> int:
    state = start.build(0).network.state_dict()
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def _check_disk(folder: Path, needed: int) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise DiskFullError(
            errno.ENOSPC,
            f"the models need {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free. Make room, or "
            "choose another folder",
            str(folder),
        )
