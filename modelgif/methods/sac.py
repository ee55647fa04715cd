"""SAC: how alike one model finds each pair of references. Needs scores, or labels only.

Two models that answer in their own way still answer *the same pairs* alike if one was made from the
other. Unlike a comparison class by class, it needs no common label set. The paper's references are
those that the victim misclassifies (SAC-w) or CutMix images (SAC-m).

Source: Guan et al., Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural
Networks, NeurIPS 2022, section 3.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from modelgif.fields.model import Model
from modelgif.methods._outputs import at_least, class_scores, comparable
from modelgif.methods._similarity import cosine_matrix
from modelgif.methods.method import Method

Answer = Literal["scores", "probabilities", "labels"]
Correlation = Literal["cosine", "gaussian"]

# A label as scores: this for the predicted class and for every other, before a softmax.
_PREDICTED, _OTHER = 1.0, 0.01


def describe(
    model: Model,
    references: Tensor,
    *,
    answer: Answer = "scores",
    correlation: Correlation = "cosine",
    batch_size: int = 512,
) -> Tensor:
    """Returns the correlations of `model`'s answers to all pairs of references, ``[N, N]``.

    Args:
        model: gives scores ``[B, K]``.
        references: ``[N, *input_shape]``, at least two.
        answer: what is known of the model's output o: its ``scores`` as they come, as in the
            authors' program; their softmax; or the label, smoothed as there: the softmax of 1 for
            the predicted class and 0.01 for every other.
        correlation: ``cosine`` of two answers, in [-1, 1]; or ``gaussian``, ``exp(−‖u − v‖²)`` of
            the answers scaled to unit length (a bandwidth of √½, as in the authors' program). An
            answer of zero norm has no direction: its cosine is 1 with another such and 0 with any
            other.
        batch_size: references per pass.

    Raises:
        ValueError: for outputs that are not a finite ``[N, K]``, naming the reference, fewer than
            two references, or an unknown option.
    """
    _known("answer", answer, get_args(Answer))
    _known("correlation", correlation, get_args(Correlation))
    at_least(references, 2, "because SAC compares pairs of them")
    rows = _answers(class_scores(model, references, batch_size=batch_size).double(), answer)
    cosines = cosine_matrix(rows)
    # ‖u - v‖² = 2 - 2 cos of vectors of unit length.
    return cosines if correlation == "cosine" else torch.exp(2 * cosines - 2)


def compare(a: Tensor, b: Tensor) -> float:
    """Returns the mean absolute difference of two models' correlations, in [0, 2].

    The same whatever the order of either model's classes. The authors' program halves cosines, and
    so gives half of this.

    Raises:
        ValueError: for descriptions at different numbers of references.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.2, 0.8], [0.9, 0.4], [0.6, 0.1], [0.3, 0.5]])
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> round(compare(a, b), 4)
        0.1145
    """
    comparable(a, b, "correlations")
    return (a - b).abs().mean().item()


def _answers(found: Tensor, answer: Answer) -> Tensor:
    if answer == "scores":
        return found
    if answer == "probabilities":
        return found.softmax(1)
    predicted = F.one_hot(found.argmax(1), found.shape[1]).to(found)
    return (_OTHER + (_PREDICTED - _OTHER) * predicted).softmax(1)


def _known(name: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}.")


METHODS = (
    Method(
        "sac",
        "correlations between outputs at different references",
        describe,
        compare,
        access="scores",
        bounds=(0.0, 2.0),
        source="Guan et al., NeurIPS 2022",
    ),
    Method(
        "sac_labels",
        "correlations between labels at different references",
        describe,
        compare,
        access="labels",
        bounds=(0.0, 2.0),
        options={"answer": "labels"},
        source="Guan et al., NeurIPS 2022",
    ),
)
