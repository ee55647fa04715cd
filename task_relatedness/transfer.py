"""Stage 2: trains a small decoder for every task on every frozen encoder, with little data.

How well task i's encoder serves task j is measured, not assumed: Taskonomy's transfers of first
order (Zamir et al., CVPR 2018, section 3.2). One file per target; finished ones are skipped.
"""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import derive_seed, resolve_device, seeded_generator
from modelgif.experiment.training import predict
from modelgif.loading.checkpoint import read_card
from modelgif.loading.load import load_model
from modelgif.storage.tensor_file import SealedFileError, read_sealed, write_sealed
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.learning.losses import room_losses
from task_relatedness.learning.training import learn
from task_relatedness.rooms.data_set import Rooms, load_rooms
from task_relatedness.zoo import (
    Part,
    decoder_address,
    encoder_path,
    fixed_inputs,
    load_encoder,
    of_rooms,
    rows_of,
    task_named,
)

# Channels of a small decoder's first layers, for each of the encoder's.
DECODER_WIDTH = 2
ROLES: tuple[Part, Part] = ("transfer", "test")
_KIND = "transfer"


def transfer(run: Run[TaskRelatednessConfig]) -> None:
    """Measures the transfers to every target that has none yet; published ones are given."""
    config = run.config
    if config.published is not None:
        return
    missing = [target for target in config.tasks if not _is_done(run, target)]
    workers = workers_on(resolve_device(config.device))
    for_each(partial(_measure, run), missing, title="transfer", unit="target", workers=workers)


def read_transfer(
    run: Run[TaskRelatednessConfig],
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Returns for each target its sources, and what their decoders lose in each test room.

    Losses are float64 ``[M, N]`` of M sources and N rooms, see `task_relatedness.learning.losses`.

    Raises:
        modelgif.storage.tensor_file.SealedFileError: when a file is missing or damaged.
        ValueError: when one was measured with other encoders than those of the zoo.
    """
    found = {}
    for target in run.config.tasks:
        header, tensors = read_sealed(_path(run, target), _KIND)
        if header != _header(run, target):
            raise ValueError(
                f"{_path(run, target)} was not measured with the zoo's encoders as they are now: "
                "run the stage transfer again."
            )
        found[target] = (tuple(name for name, _ in header["encoders"]), tensors["losses"].numpy())
    return found


def _path(run: Run[TaskRelatednessConfig], target: str) -> Path:
    return run.folder / "transfer" / f"{target}.safetensors"


def _encoders(run: Run[TaskRelatednessConfig]) -> tuple[tuple[str, str], ...]:
    """Each encoder's task, and the digest of its weights."""
    cards = {name: read_card(encoder_path(run, name)) for name in run.config.tasks}
    return tuple((name, card["weights_sha256"]) for name, card in cards.items())


def _header(run: Run[TaskRelatednessConfig], target: str) -> dict[str, object]:
    return {"target": target, "encoders": [list(pair) for pair in _encoders(run)]}


def _is_done(run: Run[TaskRelatednessConfig], target: str) -> bool:
    try:
        return read_sealed(_path(run, target), _KIND)[0] == _header(run, target)
    except SealedFileError:
        return False


def _measure(run: Run[TaskRelatednessConfig], target: str) -> None:
    """Trains the target's decoder on each encoder, and writes what it loses in each test room."""
    config = run.config
    rooms = load_rooms(of_rooms(config).rooms, config.seed, tasks=(target,), render=False)
    header = _header(run, target)
    features = _features(run, _encoders(run), noisy=target == "denoising")
    losses = [_losses(config, target, rooms, *features[source]) for source in config.tasks]
    write_sealed(_path(run, target), _KIND, header, {"losses": torch.stack(losses)})


def _losses(
    config: TaskRelatednessConfig, target: str, rooms: Rooms, known: Tensor, tested: Tensor
) -> Tensor:
    """The loss in each test room, ``[N]`` float64, of a decoder of one encoder's features.

    Weights, order of rooms and compared pixels are drawn alike for all encoders.

    Args:
        config: of the run.
        target: the decoder's task.
        rooms: all of them.
        known: features of the rooms for transfer.
        tested: those of the test rooms.
    """
    task, (settings, zoo) = task_named(target), of_rooms(config)
    seed = derive_seed(config.seed, "transfer", target, "weights")
    address = decoder_address(task, rooms, width=DECODER_WIDTH * zoo.width)
    decoder = load_model(f"{address}&seed={seed}", device=known.device)
    truth = {role: rooms.targets[target][rows_of(role, settings)] for role in ROLES}
    of_known = truth["transfer"].to(known.device)
    learn(
        decoder,
        task,
        lambda: (known, of_known),
        of_known,
        zoo.transfer,
        generator=seeded_generator(config.seed, "transfer", target, "order"),
    )
    pixels = seeded_generator(config.seed, "pixels of test rooms")
    losses = room_losses(task, truth["transfer"], generator=pixels)
    return losses(predict(decoder, tested), truth["test"]).double()


# Once a process for clean images, and once for denoising's noisy ones, however many the targets.
@lru_cache(maxsize=2)
def _features(
    run: Run[TaskRelatednessConfig], encoders: tuple[tuple[str, str], ...], *, noisy: bool
) -> dict[str, tuple[Tensor, Tensor]]:
    """Each encoder's features of the rooms for transfer, and of the test rooms, on the device.

    ``[N, 8, H / 16, W / 16]`` each, with mean 0 and deviation 1 in every channel over the rooms for
    transfer: how large an encoder's features are is no merit, but would change how fast a decoder
    learns from them.
    """
    config, task = run.config, task_named("denoising" if noisy else "autoencoding")
    settings = of_rooms(config).rooms
    rooms = load_rooms(settings, config.seed, tasks=(), render=False)
    known, tested = (
        fixed_inputs(config, task, rooms.images[rows_of(role, settings)], role) for role in ROLES
    )
    device, features = resolve_device(config.device), {}
    for source, _ in encoders:
        encoder = load_encoder(run, source)
        of_known, of_tested = predict(encoder, known), predict(encoder, tested)
        std, mean = torch.std_mean(of_known, (0, 2, 3), correction=0, keepdim=True)
        # A channel that is zero for every room stays as it is.
        std = std.where(std > 1e-3, 1.0)
        scaled = ((of_known - mean) / std, (of_tested - mean) / std)
        features[source] = tuple(part.to(device) for part in scaled)
    return features


def files(run: Run[TaskRelatednessConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    given = run.config.published is not None
    return [] if given else [_path(run, target) for target in run.config.tasks]


if __name__ == "__main__":
    run_stage(transfer, TaskRelatednessConfig, testbed="task_relatedness")
