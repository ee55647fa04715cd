"""Stage 1: trains an encoder for each task, with a decoder; finished ones are skipped."""

from collections import OrderedDict
from functools import partial
from pathlib import Path

import pandas as pd
from torch import Tensor, nn

from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import derive_seed, resolve_device, seeded_generator
from modelgif.experiment.training import predict
from modelgif.loading.checkpoint import is_complete, read_card, write_checkpoint
from modelgif.loading.load import load_model
from modelgif.reporting.table import write_csv
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.learning.training import evaluate_answers, learn
from task_relatedness.rooms.data_set import load_rooms
from task_relatedness.rooms.mirror import mirrored_at_random
from task_relatedness.zoo import (
    PREPROCESSING,
    decoder_address,
    decoder_path,
    encoder_path,
    fixed_inputs,
    of_rooms,
    rows_of,
    task_inputs,
    task_named,
)

# Channels of a decoder's first layers, for each of the encoder's.
DECODER_WIDTH = 4
COLUMNS = ("group", "metric", "value", "trivial", "better", "learnt", "n_parameters")


def train(run: Run[TaskRelatednessConfig]) -> None:
    """Trains the encoder of every task that has none yet; published ones have been trained."""
    config = run.config
    if config.published is not None:
        return
    missing = [name for name in config.tasks if not _is_done(run, name)]
    if missing:
        load_rooms(of_rooms(config).rooms, config.seed, tasks=config.tasks)
    workers = workers_on(resolve_device(config.device))
    for_each(partial(_make, run), missing, title="train", unit="task", workers=workers)
    cards = {name: read_card(encoder_path(run, name)) for name in config.tasks}
    rows = [{"task": name} | {key: card[key] for key in COLUMNS} for name, card in cards.items()]
    write_csv(run.folder / "zoo" / "roster.csv", pd.DataFrame(rows))


def _is_done(run: Run[TaskRelatednessConfig], name: str) -> bool:
    return is_complete(encoder_path(run, name)) and is_complete(decoder_path(run, name))


def _make(run: Run[TaskRelatednessConfig], name: str) -> None:
    """Trains one encoder with its decoder, and writes both."""
    config, task, (settings, zoo) = run.config, task_named(name), of_rooms(run.config)
    rooms = load_rooms(settings, config.seed, tasks=(name,), render=False)
    addresses = {
        "encoder": f"python:task_relatedness.learning.taskonomy_networks:encoder?width={zoo.width}",
        "decoder": decoder_address(task, rooms, width=DECODER_WIDTH * zoo.width),
    }
    device, seed = resolve_device(config.device), derive_seed(config.seed, name, "weights")
    scale = "".join(f"&{key}={','.join(map(str, of))}" for key, of in PREPROCESSING.items())
    encoder = load_model(f"{addresses['encoder']}&seed={seed}{scale}", device=device)
    decoder = load_model(f"{addresses['decoder']}&seed={seed}", device=device)
    model = nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))

    seen, tested = (rooms.rows(rows_of(role, settings)) for role in ("train", "test"))
    images, targets = seen.images.to(device), seen.targets[name].to(device)
    generator = seeded_generator(config.seed, name, "order")

    def examples() -> tuple[Tensor, Tensor]:
        pair = (images, targets)
        if zoo.mirror:
            pair = mirrored_at_random(task, *pair, generator=generator)
        return task_inputs(task, pair[0], noise=zoo.noise, generator=generator), pair[1]

    loss = learn(model, task, examples, targets, zoo.training, generator=generator)

    shown = fixed_inputs(config, task, tested.images, "test")
    card = {
        "task": name,
        "seed": config.seed,
        "recipe": zoo.training.model_dump(mode="json"),
        "training_loss": loss,
        "n_parameters": sum(weights.numel() for weights in encoder.parameters()),
    }
    answers = predict(model, shown)
    card |= evaluate_answers(task, answers, tested.targets[name], shown, seen.targets[name])
    write_checkpoint(decoder_path(run, name), decoder, {"architecture": addresses["decoder"]})
    write_checkpoint(
        encoder_path(run, name), encoder, {"architecture": addresses["encoder"]} | card
    )


def files(run: Run[TaskRelatednessConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    if run.config.published is not None:
        return []
    paths = [path(run, name) for name in run.config.tasks for path in (encoder_path, decoder_path)]
    return [*paths, run.folder / "zoo" / "roster.csv"]


if __name__ == "__main__":
    run_stage(train, TaskRelatednessConfig, testbed="task_relatedness")
