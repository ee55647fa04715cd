"""IPGuard: labels at points made to lie near the victim's class boundaries. Needs labels only.

Only the victim, whose owner has it, is differentiated. Models of one family put their boundaries in
one place; others do so elsewhere.

Source: Cao et al., IPGuard: Protecting Intellectual Property of Deep Neural Networks via
Fingerprinting the Classification Boundary, AsiaCCS 2021, section 4.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from modelgif.fields.model import Model, frozen, scores
from modelgif.methods import label_agreement
from modelgif.methods._outputs import class_scores
from modelgif.methods.method import Method

Towards = Literal["least_likely", "random"]

# Steps between two looks at whether all points are done, each of which waits for the device.
_STEPS_BETWEEN_LOOKS = 32


@dataclass(frozen=True)
class BoundaryPoints:
    """Points near the victim's class boundaries.

    Attributes:
        points: ``[N, *input_shape]``, those that were not brought there as they ended.
        reached: which of them were, ``[N]``.
    """

    points: Tensor
    reached: Tensor


def boundary_points(
    victim: Model,
    references: Tensor,
    *,
    margin: float,
    generator: torch.Generator,
    towards: Towards = "random",
    step_size: float = 0.001,
    n_steps: int = 1000,
    chunk_size: int = 512,
) -> BoundaryPoints:
    """Returns `references`, each moved across the boundary of its class to another, j.

    With the class i that the victim predicts at the start and its scores Z, Adam brings to zero

        relu(Z_i − Z_j + margin) + relu(max_{t ≠ i, j} Z_t − Z_i)

    so that j leads i by the margin and no third class comes between them. A point is left at the
    first step that reaches zero. The paper's references are training images or noise.

    Args:
        victim: maps ``[B, *input_shape]`` in pixels of [0, 1] to logits ``[B, K]``, K of at least
            2, each sample independently of the others; it is where the references are.
        references: ``[N, *input_shape]``, pixels in [0, 1].
        margin: how far behind the boundary, in logits. A wide one holds for models made from the
            victim, and sooner or later for all models; the paper sets it for each data set.
        generator: of the classes j, on any device.
        towards: whether j is a random other class, or the one of least score.
        step_size: of Adam.
        n_steps: the most steps; points not there by then are not `reached`.
        chunk_size: points per forward and backward pass.

    Raises:
        ValueError: for numbers out of range, references that are not pixels of [0, 1], or outputs
            that are not a finite ``[N, K]``.
        TypeError: for an output that does not depend differentiably on the input.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.55, 0.45], [0.45, 0.5]])
        >>> generator = torch.Generator().manual_seed(0)
        >>> found = boundary_points(lambda z: 10 * z, x, margin=0.5, generator=generator)
        >>> found.reached.tolist(), found.points.argmax(1).tolist()
        ([True, True], [1, 0])
    """
    _check(references, margin, towards, step_size, min(n_steps, chunk_size))
    found = class_scores(victim, references, batch_size=chunk_size)
    own = found.argmax(1)
    # Drawn in any case, so that the generator's state does not depend on the option.
    shift = torch.randint(
        1, found.shape[1], own.shape, generator=generator, device=generator.device
    ).to(own.device)
    other = (own + shift) % found.shape[1] if towards == "random" else _least(found, own)
    parts, reached = [], []
    # Tensors are made outside any inference mode of the caller, or autograd would refuse them.
    with torch.inference_mode(False), torch.enable_grad(), frozen(victim):
        for first in range(0, len(references), chunk_size):
            rows = slice(first, first + chunk_size)
            classes = own[rows].clone(), other[rows].clone()
            start = references[rows].detach().clone()
            point, done = _descend(victim, start, classes, margin, step_size, n_steps)
            parts.append(point)
            reached.append(done)
    return BoundaryPoints(torch.cat(parts), torch.cat(reached))


def describe(model: Model, references: Tensor, *, batch_size: int = 512) -> Tensor:
    """Returns the predicted classes ``[N]`` of `model` at boundary points ``[N, *input_shape]``.

    Raises:
        ValueError: for an output that is not finite, naming the point.
    """
    return label_agreement.describe(model, references, batch_size=batch_size)


def per_reference(a: Tensor, b: Tensor) -> Tensor:
    """Returns, for each point, whether two models' labels differ, float64 ``[N]``: 0 or 1.

    Raises:
        ValueError: for descriptions at different numbers of points.
    """
    return label_agreement.per_reference(a, b)


def compare(a: Tensor, b: Tensor) -> float:
    """Returns one minus the matching rate of two models, in [0, 1].

    Raises:
        ValueError: for descriptions at different numbers of points.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.2, 0.8], [0.9, 0.4], [0.6, 0.1], [0.3, 0.5]])
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> round(compare(a, b), 4)
        0.75
    """
    return label_agreement.compare(a, b)


def _descend(
    victim: Model,
    start: Tensor,
    classes: tuple[Tensor, Tensor],
    margin: float,
    step_size: float,
    n_steps: int,
) -> tuple[Tensor, Tensor]:
    """The points of one chunk, and which of them are where they should be."""
    # Adam works entry by entry, so that points do not depend on one another.
    leaf = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([leaf], lr=step_size)
    kept, done = start, torch.zeros(len(start), dtype=torch.bool, device=start.device)
    shape = (-1, *[1] * (start.ndim - 1))
    for step in range(n_steps + 1):
        # A copy, because a model may begin with an in-place operation.
        logits = scores(victim(leaf.clone()), len(leaf))
        if not logits.requires_grad:
            raise TypeError(
                "the model's output does not depend differentiably on its input: return the scores "
                "themselves, not detached ones and not an argmax."
            )
        objective = _objective(logits, *classes, margin)
        kept = torch.where(done.view(shape), kept, leaf.detach())
        done = done | (objective.detach() == 0)
        if step == n_steps or (step % _STEPS_BETWEEN_LOOKS == 0 and bool(done.all())):
            break
        (leaf.grad,) = torch.autograd.grad(objective.sum(), leaf)
        optimiser.step()
        with torch.no_grad():
            leaf.clamp_(0, 1)
    return kept, done


def _objective(logits: Tensor, own: Tensor, other: Tensor, margin: float) -> Tensor:
    z_own = logits.gather(1, own[:, None])[:, 0]
    z_other = logits.gather(1, other[:, None])[:, 0]
    both = torch.zeros_like(logits, dtype=torch.bool)
    both = both.scatter(1, own[:, None], True).scatter(1, other[:, None], True)
    # With two classes there is no third, and the term is relu(-inf) = 0.
    third = logits.masked_fill(both, -torch.inf).amax(1)
    return (z_own - z_other + margin).relu() + (third - z_own).relu()


def _least(found: Tensor, own: Tensor) -> Tensor:
    # Where all scores are equal, the least likely class must still be another one.
    return found.scatter(1, own[:, None], torch.inf).argmin(1)


def _check(
    references: Tensor, margin: float, towards: str, step_size: float, smallest_count: int
) -> None:
    if towards not in get_args(Towards):
        raise ValueError(f"towards must be one of {', '.join(get_args(Towards))}, got {towards!r}.")
    if not (0 <= margin < float("inf") and step_size > 0 and smallest_count >= 1):
        raise ValueError(
            "expected a margin of at least 0, a positive step_size and at least one step and one "
            f"point per chunk, got margin {margin}, step_size {step_size} and {smallest_count}."
        )
    if len(references) and not bool(((references >= 0) & (references <= 1)).all()):
        raise ValueError(
            f"references must be pixels in [0, 1], got values in [{references.min():.4g}, "
            f"{references.max():.4g}]: make points of the model behind its preprocessing."
        )


def _points(
    victim: Model, references: Tensor, *, generator: torch.Generator, **options: Any
) -> dict[str, Tensor]:
    found = boundary_points(victim, references, generator=generator, **options)
    # Points that did not reach a boundary say nothing about it.
    return {"references": found.points[found.reached] if found.reached.any() else found.points}


METHODS = (
    Method(
        "ipguard",
        "labels at points near the victim's class boundaries",
        describe,
        compare,
        access="labels",
        bounds=(0.0, 1.0),
        same_classes=True,
        prepare=_points,
        # The paper sets the margin for each data set; steps of 0.01 reach it on small images.
        options={"margin": 1.0, "step_size": 0.01, "n_steps": 300},
        source="Cao et al., AsiaCCS 2021",
    ),
)
