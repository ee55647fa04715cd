"""Adversarial images: moved, within a bound, to where a model errs or sees something else."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from modelgif.fields.model import Model, frozen, scores

# Of a chunk's outputs the number that is to grow.
Objective = Callable[[Tensor], Tensor]


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

    Example:
        >>> images, labels = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
        >>> options = dict(epsilon=0.1, step_size=0.05, n_steps=9, generator=torch.Generator())
        >>> moved = pgd(lambda x: x[:, 0, 0], images, labels, **options)
        >>> moved[0, 0, 0], moved[1, 0, 0]
        (tensor([0.4000, 0.6000]), tensor([0.6000, 0.4000]))

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018,
    section 2.1.
    """
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise ValueError(
            "expected images [N, *] with one whole-numbered label each, got images "
            f"{list(images.shape)} and labels {list(labels.shape)} of {labels.dtype}."
        )
    _check(images, epsilon, step_size, n_steps, chunk_size)
    with torch.inference_mode(False):
        start = images.detach().clone()
        start.add_(_noise(images, generator), alpha=2 * epsilon).sub_(epsilon)
        truth = labels.detach().clone().to(images.device)

    def objective(_clean: Tensor, rows: slice) -> Objective:
        # The sum, because a mean would make a large chunk's gradients small enough to vanish.
        return lambda logits: F.cross_entropy(logits, truth[rows], reduction="sum")

    return _ascend(model, images, start, objective, epsilon, step_size, n_steps, chunk_size)


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
    """Returns `images` ``[N, *]``, each moved to where its representation is another.

    As `pgd`, but for models without classes: each step follows the sign of the gradient of the
    squared distance between the representations of the moved and the clean image,

        x ← clip(x + step_size · sign ∇ ‖f(x) − f(x_clean)‖²)

    At the clean image this gradient is zero, and an attack that starts there stays there: so the
    start is random, in the cube of half-width `epsilon`.

    Args:
        model: maps pixels in [0, 1], ``[B, *]``, to representations ``[B, ...]``, each sample
            independently of the others; it is where the images are, and is left as it was found.
        images: ``[N, *]``, pixels in [0, 1].
        epsilon: the most that a pixel may change.
        step_size: how much each step changes a pixel.
        n_steps: number of steps.
        generator: of the random start, on any device.
        chunk_size: images per forward and backward pass.

    Raises:
        ValueError: for numbers out of range, or images that are not pixels of [0, 1].
        TypeError: for an output that is not one tensor, or does not depend differentiably on the
            input.

    Example:
        >>> images = torch.full((3, 1, 2, 2), 0.5)
        >>> options = dict(epsilon=0.1, step_size=0.05, n_steps=9, generator=torch.Generator())
        >>> moved = feature_attack(lambda x: x.flatten(1), images, **options)
        >>> torch.allclose((moved - images).abs(), torch.tensor(0.1))
        True

    Source: the distance after Sabour et al., Adversarial manipulation of deep representations, ICLR
    2016; random start and steps after Madry et al., ICLR 2018, section 2.1.
    """
    _check(images, epsilon, step_size, n_steps, chunk_size)
    with torch.inference_mode(False):
        start = images.detach().clone() + epsilon * (2 * _noise(images, generator) - 1)

    def objective(clean: Tensor, _rows: slice) -> Objective:
        with torch.no_grad():
            origin = scores(model(clean.clone()), len(clean))
        # The sum over images, because each has a distance of its own.
        return lambda output: (output - origin).square().sum()

    return _ascend(model, images, start, objective, epsilon, step_size, n_steps, chunk_size)


def _ascend(
    model: Model,
    images: Tensor,
    start: Tensor,
    objective: Callable[[Tensor, slice], Objective],
    epsilon: float,
    step_size: float,
    n_steps: int,
    chunk_size: int,
) -> Tensor:
    """Moves `start`, in place, by signs of gradients, within the cube around the images.

    `objective` gives what is to grow for a chunk, from its clean images and their rows.
    """
    # Tensors are made outside any inference mode of the caller, or autograd would refuse them.
    with torch.inference_mode(False), torch.enable_grad(), frozen(model):
        clean = images.detach().clone()
        low, high = (clean - epsilon).clamp_(min=0), (clean + epsilon).clamp_(max=1)
        moved = start.clamp_(low, high)
        for first in range(0, len(moved), chunk_size):
            rows = slice(first, first + chunk_size)
            grows = objective(clean[rows], rows)
            for _ in range(n_steps):
                step = step_size * _gradient(model, moved[rows], grows).sign()
                moved[rows] = (moved[rows] + step).clamp_(low[rows], high[rows])
    return moved


def _gradient(model: Model, images: Tensor, objective: Objective) -> Tensor:
    # A leaf of its own, which the model gets as a copy: it may begin with an in-place operation.
    leaf = images.clone().requires_grad_()
    output = scores(model(leaf.clone()), len(leaf))
    if not output.requires_grad:
        raise TypeError(
            "the model's output does not depend differentiably on its input: return the scores "
            "themselves, not detached ones and not an argmax."
        )
    return torch.autograd.grad(objective(output), leaf)[0]


def _noise(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(images.shape, generator=generator, device=generator.device).to(images)


def _check(images: Tensor, epsilon: float, step_size: float, n_steps: int, chunk_size: int) -> None:
    if not (0 < epsilon <= 1 and step_size > 0 and n_steps >= 1 and chunk_size >= 1):
        raise ValueError(
            "expected epsilon in (0, 1], a positive step_size, and at least one step and one image "
            f"per chunk, got epsilon {epsilon}, step_size {step_size}, n_steps {n_steps} and "
            f"chunk_size {chunk_size}."
        )
    if images.ndim < 2:
        raise ValueError(f"expected images [N, *], got {list(images.shape)}.")
    if len(images) and not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError(
            f"images must be pixels in [0, 1], got values in [{images.min():.4g}, "
            f"{images.max():.4g}]: attack the model behind its preprocessing."
        )
