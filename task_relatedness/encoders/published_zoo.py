"""Taskonomy's published encoders, read instead of trained."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from modelgif.loading.state_dict import load_strictly, read_state_dict
from task_relatedness.encoders.published_files import published_file

WIDTH = 64
# A file may hold more than the encoder, whose weights then have a name of their own.
_PREFIXES = ("encoder.", "module.")
_COUNT = ".num_batches_tracked"


def load_published(
    root: Path, task: str, *, device: torch.device | str = "cpu", width: int = WIDTH
) -> Preprocessed:
    """Returns a task's published encoder in evaluation mode; it takes pixels in [0, 1].

    Args:
        root: folder of the files.
        task: name of the task.
        device: where it goes.
        width: of the network, see `task_relatedness.learning.taskonomy_networks.Encoder`.

    Raises:
        modelgif.loading.errors.CheckpointError: for a file that is missing, damaged or refused,
            or holds other names or shapes than the encoder.
    """
    path = published_file(root, task)
    # In the files, images are in [-1, 1].
    address = f"python:task_relatedness.learning.taskonomy_networks:encoder?width={width}"
    model = load_model(f"{address}&mean=0.5&std=0.5")
    state = encoder_weights(read_state_dict(path))
    load_strictly(model.network, state, f"{path} ({address})")
    return model.to(device)


def encoder_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights of the encoder in `state` under the names that they have in it.

    What stands beside an encoder is left out. Counts of batches, which files of torch before 0.4.1
    lack and no prediction depends on, are 0 where they are not there.
    """
    for prefix in _PREFIXES:
        if any(name.startswith(prefix) for name in state):
            state = {
                name.removeprefix(prefix): tensor
                for name, tensor in state.items()
                if name.startswith(prefix)
            }
    norms = [name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")]
    return {f"{norm}{_COUNT}": torch.tensor(0) for norm in norms} | dict(state)
