"""Preprocessing as a part of the model, so that all models take the same pixels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.loading.address import PREPROCESSING_KEYS, did_you_mean

# A card could otherwise ask for images that fill the memory.
_LARGEST = 4096


class Preprocessed(nn.Module):
    """A network behind its own preprocessing: takes images ``[B, C, H, W]`` of pixels in [0, 1].

    Images are resized to `size` (bilinear, antialiased; only when theirs differs), then normalised,
    ``(x - mean) / std`` per channel. Gradients with respect to the input therefore live in the same
    pixel space for differently normalised networks. Without mean, std and size, the input passes
    unchanged, whatever its shape. Its weights are those of `network` alone: ``mean`` and ``std``
    are buffers that no checkpoint holds.

    Args:
        network: used as it is, not copied.
        mean: one number per channel, or one for all; with `std` or not at all.
        std: as many numbers as `mean`, positive.
        size: height and width, or one number for both.

    Attributes:
        network: the network itself.
        preprocessing: those of ``mean``, ``std`` and ``size`` that were given, as in a card.
        address: where the model came from, or empty.

    Raises:
        ValueError: for other values, see `checked_preprocessing`.

    Example:
        >>> model = Preprocessed(nn.Identity(), mean=0.5, std=0.25)
        >>> model(torch.tensor([[[[0.5, 1.0]]]]))
        tensor([[[[0., 2.]]]])
        >>> model.preprocessing
        {'mean': [0.5], 'std': [0.25]}
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        size: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = checked_preprocessing({"mean": mean, "std": std, "size": size})
        self.size = self.preprocessing.get("size")
        self.address = ""
        weights = [*network.parameters(), *network.buffers()]
        like = next((w.detach() for w in weights if w.is_floating_point()), torch.empty(0))
        for name in ("mean", "std"):
            numbers = self.preprocessing.get(name)
            value = None if numbers is None else like.new_tensor(numbers).reshape(1, -1, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor) -> object:
        """Returns the network's output for pixels in [0, 1].

        Raises:
            ValueError: for an input that is not a batch of images, or has other channels.
            TypeError: for an input of integers.
        """
        if self.preprocessing:
            self._check(x)
        if self.size is not None and list(x.shape[-2:]) != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        if self.mean is not None and self.std is not None:
            x = (x - self.mean) / self.std
        return self.network(x)

    def resampling(self, height: int, width: int) -> str:
        """Returns what is done to the size of images of `height` and `width`; empty for nothing."""
        if self.size in (None, [height, width]):
            return ""
        return "{}×{} resampled to {}×{} (bilinear, antialiased)".format(height, width, *self.size)

    def describe(self, height: int, width: int) -> str:
        """Returns one line: the model, and what becomes of images of `height` and `width`."""
        weights = list(self.network.parameters())
        formats = sorted({str(w.dtype).removeprefix("torch.") for w in weights})
        words = [
            f"{type(self.network).__name__} of {sum(w.numel() for w in weights):,} weights"
            f"{' in ' if formats else ''}{' and '.join(formats)}",
            f"pixels in [0, 1] {self.resampling(height, width) or f'at {height}×{width}'}",
        ]
        if "mean" in self.preprocessing:
            mean, std = (
                " ".join(f"{n:.4g}" for n in self.preprocessing[key]) for key in ("mean", "std")
            )
            words.append(f"less {mean}, over {std}")
        return f"{self.address or 'a model'}: {', '.join(words)}"

    def _check(self, x: Tensor) -> None:
        # One number per channel would broadcast a grey image to as many channels, silently.
        n_channels = len(self.preprocessing.get("mean", [0.0]))
        if x.ndim != 4 or n_channels not in (1, x.shape[1]):
            channels = "C" if n_channels == 1 else n_channels
            raise ValueError(
                f"the model takes images [B, {channels}, H, W] of pixels in [0, 1], "
                f"got {list(x.shape)}."
            )
        if not x.is_floating_point():
            raise TypeError(
                f"the model takes floating-point pixels in [0, 1], got {x.dtype}: "
                "divide 8-bit images by 255."
            )


def checked_preprocessing(preprocessing: object) -> dict[str, Any]:
    """Returns preprocessing in its one form: lists of numbers under ``mean``, ``std``, ``size``.

    Args:
        preprocessing: any of ``mean`` and ``std`` (one number per channel, or one for all;
            together or not at all), and ``size`` (height and width, or one number for both).

    Raises:
        ValueError: for anything else.

    Example:
        >>> checked_preprocessing({"mean": 0.5, "std": (0.25, ), "size": 224})
        {'mean': [0.5], 'std': [0.25], 'size': [224, 224]}
    """
    if not isinstance(preprocessing, Mapping):
        raise ValueError(f"preprocessing must map mean, std and size, got {preprocessing!r}.")
    for key in preprocessing:
        if key not in PREPROCESSING_KEYS:
            raise ValueError(
                f"preprocessing is described by {', '.join(PREPROCESSING_KEYS)}, got {key!r}."
                f"{did_you_mean(str(key), PREPROCESSING_KEYS)}"
            )
    given = {k: _numbers(k, v) for k, v in preprocessing.items() if v is not None}
    mean, std, size = (given.get(key) for key in PREPROCESSING_KEYS)
    if len(mean or []) != len(std or []):
        raise ValueError(
            f"mean and std must be given together and have equal lengths, got {mean} and {std}."
        )
    if std is not None and min(std) <= 0:
        raise ValueError(f"std must be positive, got {std}.")
    if size is not None:
        if len(size) > 2 or any(not 1 <= s <= _LARGEST or s != int(s) for s in size):
            raise ValueError(
                f"size must be height and width in pixels, at most {_LARGEST}, got {size}."
            )
        given["size"] = [int(size[0]), int(size[-1])]
    return given


def taken_apart(model: object, origin: str) -> tuple[nn.Module, dict[str, Any]]:
    """Returns a model that other people's code made as a bare network and its preprocessing.

    Args:
        model: a module; the preprocessing of a `Preprocessed` one is separated.
        origin: where it came from, for messages.

    Raises:
        TypeError: when it is not a module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{origin} must return a torch.nn.Module, got {type(model).__name__}.")
    if isinstance(model, Preprocessed):
        return model.network, model.preprocessing
    return model, {}


def _numbers(key: str, value: object) -> list[int | float]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not values or len(numbers) != len(values) or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{key} must be a list of finite numbers, got {value!r}.")
    return numbers
