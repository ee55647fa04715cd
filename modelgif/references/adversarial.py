"""Adversarial inputs: images moved, within a bound, to where a model errs."""

import torch
from torch import Tensor
from torch.nn import functional as F

from modelgif.fields.model import Model, frozen, scores


def pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float,
    n_steps: int,
    generator: torch.Generator,
    chunk_size: int = 512,
) -> Tensor:
    """Returns `images` ``[N, *]``, each moved to where the loss on its label is large.

    From a random point of the cube of half-width `epsilon` around an image, each step follows the
    sign of the gradient of the cross-entropy and goes back into the cube and into the pixels'
    range, [0, 1]:

        x ← clip(x + step_size · sign ∇L(x, label))

    The model runs in evaluation mode and is left as it was found, so that it may be one that is
    being trained on the result.

    Args:
        model: maps ``[B, *]`` in pixels of [0, 1] to logits ``[B, K]``, each sample independently
            of the others; it is where the images are.
        images: ``[N, *]``, pixels in [0, 1].
        labels: whole numbers ``[N]``, from which the images are moved away: the true ones, or those
            that the model predicts.
        epsilon: the most that a pixel may change.
        step_size: how much each step changes a pixel.
        n_steps: number of steps.
        generator: of the random start, on any device.
        chunk_size: images per forward and backward pass.

    Raises:
        ValueError: for numbers out of range, images that are not pixels of [0, 1], or labels that
            do not fit them.
        TypeError: for an output that is not one tensor of scores, or does not depend
            differentiably on the input.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018,
    section 2.1.
    """
    _check(images, labels, epsilon, step_size, min(n_steps, chunk_size))
    noise = torch.rand(images.shape, generator=generator, device=generator.device).to(images)
    # Tensors are made outside any inference mode of the caller, or autograd would refuse them.
    with torch.inference_mode(False), torch.enable_grad(), frozen(model):
        centre = images.detach().clone()
        low, high = (centre - epsilon).clamp_(min=0), (centre + epsilon).clamp_(max=1)
        moved = centre.add_(noise, alpha=2 * epsilon).sub_(epsilon).clamp_(low, high)
        truth = labels.detach().clone().to(images.device)
        for first in range(0, len(moved), chunk_size):
            rows = slice(first, first + chunk_size)
            for _ in range(n_steps):
                step = step_size * _gradient(model, moved[rows], truth[rows]).sign()
                moved[rows] = (moved[rows] + step).clamp_(low[rows], high[rows])
    return moved


def _gradient(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    # A leaf of its own, which the model gets as a copy: it may begin with an in-place operation.
    leaf = images.clone().requires_grad_()
    logits = scores(model(leaf.clone()), len(leaf))
    if not logits.requires_grad:
        raise TypeError(
            "the model's output does not depend differentiably on its input: return the scores "
            "themselves, not detached ones and not an argmax."
        )
    # The sum, because a mean would make a large chunk's gradients small enough to vanish.
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.autograd.grad(loss, leaf)[0]


def _check(
    images: Tensor, labels: Tensor, epsilon: float, step_size: float, smallest_count: int
) -> None:
    if not (0 < epsilon <= 1 and step_size > 0 and smallest_count >= 1):
        raise ValueError(
            "expected epsilon in (0, 1], a positive step_size and at least one step and one image "
            f"a chunk, got epsilon {epsilon}, step_size {step_size} and {smallest_count}."
        )
    if images.ndim < 2 or labels.shape != images.shape[:1] or labels.is_floating_point():
        raise ValueError(
            "expected images [N, *] with one whole-numbered label each, got images "
            f"{list(images.shape)} and labels {list(labels.shape)} of {labels.dtype}."
        )
    if len(images) and not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError(
            f"images must be pixels in [0, 1], got values in [{images.min():.4g}, "
            f"{images.max():.4g}]: attack the model behind its preprocessing."
        )
