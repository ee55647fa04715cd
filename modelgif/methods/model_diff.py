"""ModelDiff: how far a small change of each input moves the output. Needs scores.

A model's *decision distance vector* has one entry per pair of inputs, a reference and its twin: the
cosine distance of the model's two outputs. It needs no common label set.

Source: Li et al., ModelDiff: Testing-Based DNN Similarity Comparison for Model Reuse Detection,
ISSTA 2021, section 4.
"""

from typing import Any

import torch
from torch import Tensor

from modelgif.distances.distance import distance, distance_per_reference
from modelgif.fields.model import Model
from modelgif.methods._outputs import at_least, comparable, outputs
from modelgif.methods.method import Method
from modelgif.references.adversarial import pgd


def adversarial_twins(
    victim: Model,
    references: Tensor,
    *,
    generator: torch.Generator,
    epsilon: float = 0.1,
    step_size: float = 0.01,
    n_steps: int = 40,
    batch_size: int = 512,
) -> Tensor:
    """Returns a twin of each reference, moved to where `victim` no longer predicts the same class.

    The bound, step and number of steps are those of the authors' program, which attacks inputs of
    another range.

    Args:
        victim: the protected model; all models are then described at the same twins.
        references: ``[N, *input_shape]``, pixels in [0, 1].
        generator: of the random start.
        epsilon: the most that a pixel may change.
        step_size: how much each step changes a pixel.
        n_steps: number of steps.
        batch_size: references per pass.

    Raises:
        ValueError: as `modelgif.references.adversarial.pgd`, and for an output that is not finite.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.55, 0.45], [0.2, 0.8]])
        >>> generator = torch.Generator().manual_seed(0)
        >>> adversarial_twins(lambda z: 10 * z, x, generator=generator).argmax(1).tolist()
        [1, 1]
    """
    labels = outputs(victim, references, batch_size=batch_size).argmax(1)
    return pgd(
        victim,
        references,
        labels,
        epsilon=epsilon,
        step_size=step_size,
        n_steps=n_steps,
        generator=generator,
        chunk_size=batch_size,
    )


def describe(model: Model, references: Tensor, *, twins: Tensor, batch_size: int = 512) -> Tensor:
    """Returns the decision distance vector of `model`, float64 ``[N]``, entries in [0, 2].

    Entry n is the cosine distance of the outputs at ``references[n]`` and ``twins[n]``: 0 where
    both are zero, 1 where one is.

    Args:
        model: gives one tensor of scores, ``[B, ...]``.
        references: ``[N, *input_shape]``, at least two.
        twins: each reference's changed twin, like `references`.
        batch_size: inputs per pass.

    Raises:
        ValueError: if the shapes do not match, for fewer than two pairs, or an output that is not
            finite, naming the reference.

    Warns:
        ZeroCellWarning: for outputs that are all zero.
    """
    comparable(references, twins, "references and twins")
    at_least(references, 2, "because one number has no direction")
    first = outputs(model, references, batch_size=batch_size).flatten(1)
    second = outputs(model, twins, batch_size=batch_size).flatten(1)
    return distance_per_reference(first[:, None], second[:, None])


def compare(a: Tensor, b: Tensor) -> float:
    """Returns the cosine distance of two decision distance vectors, in [0, 1].

    The same whatever the order of either model's classes or the scale of its outputs. A model that
    no twin moves has a zero vector: at distance 0 of another such and 1 of any other.

    Raises:
        ValueError: for descriptions at different numbers of references.

    Warns:
        ZeroCellWarning: for a zero vector.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.2, 0.8], [0.9, 0.4], [0.6, 0.1], [0.3, 0.5]])
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2).triu()
        >>> a = describe(lambda z: z @ victim, x, twins=1 - x)
        >>> b = describe(lambda z: z @ suspect, x, twins=1 - x)
        >>> round(compare(a, b), 4)
        0.0069
    """
    comparable(a, b, "decision distances")
    return min(1.0, distance(a[None, None], b[None, None]))


def _twins(
    victim: Model, references: Tensor, *, generator: torch.Generator, **options: Any
) -> dict[str, Tensor]:
    return {"twins": adversarial_twins(victim, references, generator=generator, **options)}


METHODS = (
    Method(
        "model_diff",
        "how far adversarial twins of the references move the output",
        describe,
        compare,
        access="scores",
        bounds=(0.0, 1.0),
        prepare=_twins,
        source="Li et al., ISSTA 2021",
    ),
)
