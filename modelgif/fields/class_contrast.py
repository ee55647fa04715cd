"""The class contrast: one class's score less the mean of all, on the scale of logits.

A classifier's logits are defined up to a number added to all of them, and some models give
probabilities instead. The contrast is the same for all of these, up to rounding: what is added to
every class drops out, and so does the logarithm of a softmax's denominator. What a model gives is
told once, from its answers at all references, see `output_kind`.
"""

from typing import Literal

import torch
from torch import Tensor

OutputKind = Literal[
    "logits",
    "log_probabilities",
    "probabilities",
    "multi_label",
    "one_hot",
    "rounded",
    "constant",
    "one_column",
    "embedding",
]
Scale = Literal["logits", "probabilities", "odds"]
# Sums of probabilities in half precision, or of a thousand classes in single, are within this of 1.
# Logits of all references are not, however small: these would have to be non-negative, too.
SUM_TOLERANCE = 1e-2
# Of the deviation of rows from their mean: the lengths of a normalised embedding agree to rounding,
# those of logits differ as much as the logits do.
LENGTH_TOLERANCE = 1e-3
# Of the range of the answers: distinct answers of a model that rounds to three digits are no nearer
# than this, those of floating-point arithmetic are.
ROUNDING_GAP = 1e-4
# Fewer numbers than this may all differ by more, or all lie in [0, 1], by chance.
_FEWEST_NUMBERS = 24

NOTES: dict[OutputKind, str] = {
    "logits": "",
    "log_probabilities": "",
    "probabilities": "gives probabilities; the class contrast is taken of their logarithms.",
    "multi_label": (
        "gives one probability per label, which do not sum to one; the class contrast is taken of "
        "their log-odds."
    ),
    "one_hot": (
        "answers with 0 and 1 alone: its gradients are zero and say nothing. Describe the network "
        "before its last step, or judge it by its labels."
    ),
    "rounded": (
        "gives rounded answers: their gradients are zero and say nothing. Describe the network "
        "before its rounding, or judge it by its labels."
    ),
    "constant": (
        "gives the same answer at every reference, which says nothing about its function. Check "
        "its preprocessing, and that it was trained."
    ),
    "one_column": (
        "gives one number per input, which has no other class to be compared with. Use the target "
        "'output_sum', which differentiates that number, or wrap a binary classifier so that it "
        "gives both classes' scores, such as torch.cat([-score, score], 1)."
    ),
    "embedding": (
        "gives vectors of equal length, an embedding and not scores of classes: the largest "
        "coordinate is not a prediction. Use the target 'output_sum', a callable, or wrap the "
        "network and its classifier in one module."
    ),
}


def output_kind(answers: Tensor) -> OutputKind:
    """Returns what a model's answers at the references are, ``logits`` unless they show otherwise.

    Checked in this order, each for *all* references (and, of dense outputs, all positions):

    - ``one_column``: a single number, C = 1
    - ``constant``: the same answer to at least two references
    - ``one_hot``: one coordinate is 1 and all others 0
    - ``rounded``: fewer than half of the numbers other than 0 and 1 differ from each other, and
      those that differ do so by at least `ROUNDING_GAP` of their range
    - ``probabilities``: non-negative, sum within `SUM_TOLERANCE` of one
    - ``log_probabilities``: not positive, and their exponentials are probabilities
    - ``multi_label``: at least 24 numbers, all in [0, 1]
    - ``embedding``: at least three rows of at least three numbers, not all of one sign, whose
      Euclidean lengths agree within `LENGTH_TOLERANCE` of the rows' deviation

    Answers alone cannot show that a multi-label model before its sigmoid, or an embedding that is
    not normalised, does not give logits: its owner must say so.

    Args:
        answers: scores at the references, ``[N, C]`` or dense ``[N, C, H, W]``.

    Raises:
        ValueError: for another shape, or answers that are not finite, naming the first reference.

    Example:
        >>> output_kind(torch.tensor([[2.0, -1.0, 0.5], [0.1, 3.0, -2.0]]))
        'logits'
        >>> output_kind(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]]))
        'probabilities'
    """
    if answers.ndim not in (2, 4) or 0 in answers.shape:
        raise ValueError(
            f"class_contrast needs scores of classes, [N, C] or [N, C, H, W], got "
            f"{list(answers.shape)}; pass a callable that maps the outputs to one number per "
            "sample."
        )
    finite = answers.flatten(1).isfinite().all(1)
    if not finite.all():
        row = int(finite.logical_not().nonzero()[0].item())
        raise ValueError(
            f"the model's answer at reference {row} is not finite (NaN or infinity): leave this "
            "reference out, or the model."
        )
    if answers.shape[1] == 1:
        return "one_column"
    if len(answers) > 1 and (answers == answers[:1]).all():
        return "constant"
    rows = _rows(answers)
    if ((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all():
        return "one_hot"
    if _is_rounded(rows):
        return "rounded"
    if _are_probabilities(rows):
        return "probabilities"
    if (rows <= 0).all() and _are_probabilities(rows.exp()):
        return "log_probabilities"
    if _are_odds(rows):
        return "multi_label"
    return "embedding" if _is_embedding(rows) else "logits"


def output_scale(answers: Tensor) -> Scale:
    """Returns how a model's answers ``[N, C]`` or ``[N, C, H, W]`` become logits.

    ``probabilities`` by their logarithm, ``odds`` (one probability per label) by their log-odds,
    and all else as it is. Told as by `output_kind`, but also of answers that are constant, rounded
    or one-hot.

    Example:
        >>> output_scale(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        'probabilities'
    """
    rows = _rows(answers)
    if _are_probabilities(rows):
        return "probabilities"
    return "odds" if _are_odds(rows) else "logits"


def output_note(kind: OutputKind) -> str:
    """Returns what a reader must know about such outputs, to be put behind the model's name.

    It is empty for logits and their like, and has the way out for the others.

    Example:
        >>> output_note("probabilities")
        'gives probabilities; the class contrast is taken of their logarithms.'
    """
    return NOTES[kind]


def check_has_contrast(kind: OutputKind) -> None:
    """Refuses outputs that are not scores of classes.

    Raises:
        ValueError: for one column or an embedding, with the way out.
    """
    if kind in ("one_column", "embedding"):
        raise ValueError(f"class_contrast needs scores of classes, but the model {NOTES[kind]}")


def predicted_classes(answers: Tensor) -> Tensor:
    """Returns the class of largest score, ``[B, 1]``, or ``[B, H * W]`` of dense outputs."""
    return answers.flatten(2).argmax(1) if answers.ndim == 4 else answers.argmax(1, keepdim=True)


def class_contrast(output: Tensor, classes: Tensor, scale: Scale) -> Tensor:
    """Returns ``Σ_p s_{c(p)}(p) - mean_k s_k(p)``, ``[B]``, with s the logits of an output.

    Where the output holds probabilities, s is their logarithm; log-odds where it holds one
    probability per label. A probability below the smallest normal number, or so near to one that
    its log-odds overflow, counts as that number and has no gradient.

    Args:
        output: ``[B, C]``, or ``[B, C, H, W]`` with a class per position p.
        classes: ``[B, 1]``, or ``[B, H * W]``, as `predicted_classes` gives them.
        scale: what the output holds, see `output_scale`.

    Example:
        >>> class_contrast(torch.tensor([[1.0, 2.0, 6.0]]), torch.tensor([[2]]), "logits")
        tensor([3.])
    """
    scores = output.flatten(2) if output.ndim == 4 else output.unsqueeze(2)
    if scale == "probabilities":
        scores = _log(scores)
    elif scale == "odds":
        scores = _log(scores) - _log(1 - scores)
    chosen = scores.gather(1, classes.unsqueeze(1)).squeeze(1)
    return (chosen - scores.mean(1)).sum(1)


def _log(probability: Tensor) -> Tensor:
    return probability.clamp_min(torch.finfo(probability.dtype).tiny).log()


def _rows(answers: Tensor) -> Tensor:
    """One row per reference and position, ``[N', C]``, in float64."""
    return answers.detach().double().movedim(1, -1).flatten(0, -2)


def _are_odds(rows: Tensor) -> bool:
    return bool(rows.numel() >= _FEWEST_NUMBERS and rows.min() >= 0 and rows.max() <= 1)


def _are_probabilities(rows: Tensor) -> bool:
    return bool(rows.min() >= 0 and ((rows.sum(1) - 1).abs() <= SUM_TOLERANCE).all())


def _is_rounded(rows: Tensor) -> bool:
    between = rows[(rows != 0) & (rows != 1)]
    if len(between) < _FEWEST_NUMBERS:
        return False
    distinct = between.unique()
    if len(distinct) < 2 or 2 * len(distinct) >= len(between):
        return False
    return bool(distinct.diff().min() >= ROUNDING_GAP * (rows.max() - rows.min()))


def _is_embedding(rows: Tensor) -> bool:
    if min(rows.shape) < 3 or rows.min() >= 0 or rows.max() <= 0:
        return False
    length, deviation = rows.norm(dim=1), (rows - rows.mean(0)).square().sum(1).mean().sqrt()
    return bool(length.max() - length.min() <= LENGTH_TOLERANCE * deviation)
