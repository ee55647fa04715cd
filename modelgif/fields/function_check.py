"""Whether a model is a function: the same answer to the same image, whatever else it is shown."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modelgif.fields.model import Model, frozen, scores
from modelgif.fields.number_format import compute_dtype

# Of the outputs' spread; measured on honest networks of many kinds, see
# benchmarks/gradient_check.py.
FUNCTION_TOLERANCE = 1e-2
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True)
class FunctionCheck:
    """What the check of a model's answers found.

    Attributes:
        sound: whether the answers are those of a function of one image.
        reason: why not, with the way out, to be put behind the model's name and a colon; empty
            when sound.
        repeat_error: how far answers to the same batch are from each other, relative to the spread
            of the answers.
        batch_error: how far answers to an image alone, or in another order, are from those in the
            batch, likewise.
    """

    sound: bool
    reason: str
    repeat_error: float
    batch_error: float


def function_check(
    model: Model,
    references: Tensor,
    *,
    n_references: int = 6,
    generator: torch.Generator | None = None,
) -> FunctionCheck:
    """Returns whether `model` gives an image the same answer twice, alone and in any batch.

    The model runs in evaluation mode, in its own precision but no less than float32. Differences
    are judged by the spread of the answers, so that scores of any size are treated alike.

    Args:
        model: see `modelgif.gradient_field`.
        references: ``[N, *input_shape]``; `n_references` of them are drawn.
        n_references: how many; at least 2 show what depends on the batch.
        generator: CPU generator of the draw; seeded with 0 by default.

    Raises:
        ValueError: for no references, or answers that are not finite.
        TypeError: for an output that is not one tensor of scores.

    Example:
        >>> images = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
        >>> function_check(lambda x: x[:, :3] ** 2, images).sound
        True
        >>> function_check(lambda x: x - x.mean(0), images).sound
        False
    """
    if references.ndim < 2 or min(len(references), n_references) < 1:
        raise ValueError(
            "expected a non-empty batch of references [N, *input_shape] and at least one of them, "
            f"got {list(references.shape)} and {n_references}."
        )
    draw = torch.Generator().manual_seed(0) if generator is None else generator
    rows = torch.randperm(len(references), generator=draw)[:n_references]
    with torch.inference_mode(False), torch.no_grad():
        like, wider = references, None
        if isinstance(model, nn.Module):
            tensors = (*model.parameters(), *model.buffers())
            like = next((t for t in tensors if t.is_floating_point()), references)
            wider = compute_dtype(model)
            model = _widened(model, wider)
        x = references.detach()[rows].to(like.device, wider or like.dtype)
        with frozen(model):
            first, again, turned = (_answers(model, batch) for batch in (x, x, x.flip(0)))
            alone = torch.cat([_answers(model, one) for one in x.split(1)])
    if not first.isfinite().all():
        raise ValueError(
            "the model's answers at the references are not finite (NaN or infinity): leave the "
            "references out at which they are not, or the model."
        )
    spread = _spread(first)
    repeat = (again - first).abs().max().item() / spread
    batch = max((other - first).abs().max().item() / spread for other in (alone, turned.flip(0)))
    reason = ""
    if not repeat <= FUNCTION_TOLERANCE:
        reason = (
            f"gives other answers to the same images when asked twice (off by {repeat:.2g} of "
            "their spread): dropout or other randomness in evaluation, or a memory of what it was "
            "shown. Switch that off in its code, and judge it again."
        )
    elif not batch <= FUNCTION_TOLERANCE:
        reason = (
            f"gives an image other answers in another batch (off by {batch:.2g} of their spread): "
            f"{_batch_layer(model)}. Give its BatchNorm layers running statistics, or wrap it so "
            "that each image passes alone, and judge it again."
        )
    return FunctionCheck(not reason, reason, repeat, batch)


def _widened(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    return model if dtype is None else copy.deepcopy(model).to(dtype)


def _answers(model: Model, x: Tensor) -> Tensor:
    return scores(model(x.clone()), len(x)).double()


def _spread(answers: Tensor) -> float:
    """The standard deviation over images and classes, or a number near zero."""
    deviation = answers.std().item() if answers.numel() > 1 else 0.0
    return max(deviation, 1e-6 * answers.abs().max().item(), torch.finfo(torch.float32).tiny)


def _batch_layer(model: Model) -> str:
    """What makes answers depend on the batch, as far as layers show it."""
    for path, layer in model.named_modules() if isinstance(model, nn.Module) else ():
        if isinstance(layer, _BATCH_NORMS) and layer.running_mean is None:
            return f"{path or 'it'}, a {type(layer).__name__}, takes the statistics of the batch"
    return "its answers depend on the rest of the batch"
