"""What every method asks of a model's outputs, and of two descriptions before it compares them."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from modelgif.fields.model import Model, frozen, scores

# Gives the features ``[N, D]`` of a model at references, as
# `modelgif.fields.features.penultimate_features` does.
Features = Callable[[nn.Module, Tensor], Tensor]


def outputs(model: Model, references: Tensor, *, batch_size: int = 512) -> Tensor:
    """Returns the scores ``[N, ...]`` of `model` at `references` ``[N, *input_shape]``.

    The model runs in evaluation mode where its weights are and in their precision, and is left as
    it was found, as are the references.

    Raises:
        ValueError: for references that are not a batch, or a score that is not finite; the message
            names the reference.
        TypeError: for an output that is not one tensor of scores.
    """
    if references.ndim < 2 or len(references) == 0:
        raise ValueError(
            f"references must be a non-empty batch [N, *input_shape], got {list(references.shape)}."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    return finite(batched_scores(model, references.split(batch_size)), "output")


def batched_scores(model: Model, batches: Iterable[Tensor]) -> Tensor:
    """Returns the scores of `model` at all of `batches`, one after the other, finite or not."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
    with frozen(model), torch.no_grad():
        # Copies, because a model may begin with an in-place operation.
        parts = [
            scores(model(batch.detach().to(batch if like is None else like, copy=True)), len(batch))
            for batch in batches
        ]
    return torch.cat(parts)


def class_scores(model: Model, references: Tensor, *, batch_size: int = 512) -> Tensor:
    """Returns `outputs` of a classifier, ``[N, K]``.

    Raises:
        ValueError: for outputs of another shape or fewer than two classes, and as `outputs`.
    """
    return one_per_class(outputs(model, references, batch_size=batch_size))


def one_per_class(found: Tensor) -> Tensor:
    """Returns `found` as it is.

    Raises:
        ValueError: unless it is ``[N, K]`` of at least two classes.
    """
    if found.ndim != 2 or found.shape[1] < 2:
        raise ValueError(
            "expected one score per class, [N, K] with at least two classes, got "
            f"{list(found.shape)}; describe dense outputs by their gradient field."
        )
    return found


def vectors(
    model: Model, references: Tensor, features: Features | None, *, batch_size: int = 512
) -> Tensor:
    """Returns one vector per reference in float64, ``[N, D]``: features, or the scores where None.

    Raises:
        ValueError: for features that are not a finite ``[N, D]``, and as `outputs`.
        TypeError: for features of something other than a module.
    """
    if features is None:
        return outputs(model, references, batch_size=batch_size).flatten(1).double()
    if not isinstance(model, nn.Module):
        raise TypeError(f"features need a torch module, got {type(model).__name__}.")
    with frozen(model), torch.no_grad():
        found = features(model, references).detach()
    if found.ndim != 2 or len(found) != len(references) or found.shape[1] == 0:
        raise ValueError(
            f"features must be one vector per reference, [{len(references)}, D], got "
            f"{list(found.shape)}."
        )
    return finite(found.double(), "features")


def finite(values: Tensor, what: str) -> Tensor:
    """Returns `values` ``[N, ...]`` as they are.

    Raises:
        ValueError: when one is not finite, naming its reference.
    """
    good = values.isfinite().flatten(1).all(1)
    if not good.all():
        bad = int(good.logical_not().nonzero()[0].item())
        raise ValueError(
            f"the {what} at reference {bad} is not finite (NaN or infinity): the model's weights "
            "or outputs overflow there; a distance would be meaningless."
        )
    return values


def comparable(a: Tensor, b: Tensor, what: str) -> None:
    """Checks that two descriptions are of the same references.

    Raises:
        ValueError: when their shapes differ, with both.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"expected {what} at the same references, got shapes {list(a.shape)} and "
            f"{list(b.shape)}."
        )


def at_least(references: Tensor, count: int, why: str) -> None:
    """Checks that there are enough references.

    Raises:
        ValueError: when there are fewer than `count`, saying why that is too few.
    """
    if len(references) < count:
        raise ValueError(f"expected at least {count} references, {why}; got {len(references)}.")
