"""Pretraining by drawing an image from its features: whole, without noise, or what is hidden."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from model_selection.pretraining.pretext import Figure, Pretext

_HIDDEN = 256


class Reconstruction(Pretext):
    """Pretraining that draws the image from the features of a corrupted one.

    Args:
        network: gives features.
        n_features: their number.
        mean: the mean image of the training images, ``[C, H, W]``, where the drawing starts from.
    """

    mean: Tensor

    def __init__(self, network: nn.Module, n_features: int, mean: Tensor) -> None:
        super().__init__(network)
        self.register_buffer("mean", mean)
        self.decoder = nn.Sequential(
            nn.Linear(n_features, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, mean.numel())
        )

    @abstractmethod
    def corrupt(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns corrupted images ``[B, C, H, W]`` and which pixels are to be drawn, of bool."""

    def loss(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        """Returns the mean squared error of the pixels to be drawn."""
        corrupted, wanted = self.corrupt(images, generator)
        return masked_error(self._drawn(corrupted), images, wanted)

    def figure(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> Figure:
        """Returns the mean squared error, and that of the mean image."""
        corrupted, wanted = self.corrupt(images, generator)
        error = masked_error(self._drawn(corrupted), images, wanted).item()
        plain = masked_error(self.mean.expand_as(images), images, wanted).item()
        return Figure("squared_error", error, plain)

    def _drawn(self, corrupted: Tensor) -> Tensor:
        return self.mean + self.decoder(self.network(corrupted)).reshape(corrupted.shape)


class Autoencoding(Reconstruction):
    """Draws the image itself."""

    def corrupt(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns the images as they are, and all pixels."""
        return images, torch.ones_like(images, dtype=torch.bool)


class Denoising(Reconstruction):
    """Draws the image without the Gaussian noise.

    Args:
        network: gives features.
        n_features: their number.
        mean: the mean image, ``[C, H, W]``.
        noise: standard deviation.
    """

    def __init__(self, network: nn.Module, n_features: int, mean: Tensor, noise: float) -> None:
        super().__init__(network, n_features, mean)
        self.noise = noise

    def corrupt(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns noisy images, and all pixels."""
        noise = torch.randn(images.shape, generator=generator).to(images)
        return images + self.noise * noise, torch.ones_like(images, dtype=torch.bool)


class Inpainting(Reconstruction):
    """Draws what a grey square hides.

    Args:
        network: gives features.
        n_features: their number.
        mean: the mean image, ``[C, H, W]``.
        hole: the square's side as a share of the image's.
    """

    def __init__(self, network: nn.Module, n_features: int, mean: Tensor, hole: float) -> None:
        super().__init__(network, n_features, mean)
        self.hole = hole

    def corrupt(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns images with a grey square at a uniform place, and the pixels under it."""
        count, _, *sides = images.shape
        inside = []
        for length in sides:
            hole = min(max(1, round(self.hole * length)), length)
            start = torch.randint(length - hole + 1, (count, 1), generator=generator)
            place = torch.arange(length)
            inside.append((place >= start) & (place < start + hole))
        hidden = (inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(images.device)
        return images.masked_fill(hidden, 0.5), hidden.expand_as(images)


def masked_error(drawn: Tensor, images: Tensor, wanted: Tensor) -> Tensor:
    """Returns the mean squared error of the pixels that are `wanted`, a scalar."""
    return ((drawn - images).square() * wanted).sum() / wanted.sum()
