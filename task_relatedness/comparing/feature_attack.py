"""Images moved, within a bound, to where an encoder sees something else."""

import torch
from torch import Tensor

from modelgif.fields.model import Model, frozen, scores


def feature_attack(
    model: Model,
    images: Tensor,
    *,
    epsilon: float,
    step_size: float,
    n_steps: int,
    generator: torch.Generator,
    chunk_size: int = 64,
) -> Tensor:
    """Returns `images` ``[N, C, H, W]``, each moved to where its representation is another.

    As `modelgif.references.adversarial.pgd`, but for models without classes: each step follows the
    sign of the gradient of the squared distance between the representations of the moved and the
    clean image,

        x ← clip(x + step_size · sign ∇ ‖f(x) − f(x_clean)‖²)

    At the clean image this gradient is zero, and whoever starts there stays there: so the start is
    random, in the cube of half-width `epsilon`.

    Args:
        model: maps pixels in [0, 1], ``[B, C, H, W]``, to representations ``[B, ...]``, each sample
            independently of the others; it is where the images are, and is left as it was found.
        images: pixels in [0, 1].
        epsilon: the most that a pixel may change.
        step_size: how much each step changes a pixel.
        n_steps: number of steps.
        generator: of the random start, on any device.
        chunk_size: images per forward and backward pass.

    Raises:
        ValueError: for numbers out of range, or images that are not pixels of [0, 1].
        TypeError: for an output that is not one tensor.

    Source: the distance after Sabour et al., Adversarial manipulation of deep representations, ICLR
    2016; random start and steps after Madry et al., ICLR 2018, section 2.1.
    """
    if not (0 < epsilon <= 1 and step_size > 0 and n_steps >= 1 and chunk_size >= 1):
        raise ValueError(
            "expected epsilon in (0, 1], a positive step_size, and at least one step and one image "
            f"a chunk, got {epsilon}, {step_size}, {n_steps} and {chunk_size}."
        )
    if images.ndim != 4 or not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError(
            f"images must be pixels in [0, 1], [N, C, H, W], got {list(images.shape)} in "
            f"[{images.min():.4g}, {images.max():.4g}]: attack the model behind its preprocessing."
        )
    noise = torch.rand(images.shape, generator=generator, device=generator.device).to(images)
    with torch.inference_mode(False), torch.enable_grad(), frozen(model):
        clean = images.detach().clone()
        low, high = (clean - epsilon).clamp_(min=0), (clean + epsilon).clamp_(max=1)
        moved = (clean + epsilon * (2 * noise - 1)).clamp_(low, high)
        for first in range(0, len(moved), chunk_size):
            rows = slice(first, first + chunk_size)
            with torch.no_grad():
                origin = scores(model(clean[rows].clone()), len(clean[rows]))
            for _ in range(n_steps):
                step = step_size * _gradient(model, moved[rows], origin).sign()
                moved[rows] = (moved[rows] + step).clamp_(low[rows], high[rows])
    return moved


def _gradient(model: Model, images: Tensor, origin: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    # The sum over images, because each has a distance of its own.
    distance = (scores(model(leaf.clone()), len(leaf)) - origin).square().sum()
    return torch.autograd.grad(distance, leaf)[0]
