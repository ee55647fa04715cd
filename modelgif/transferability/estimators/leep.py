"""LEEP and NCE: how well the source model's own classes predict the target's."""

import torch
from torch import Tensor

from modelgif.transferability._checks import Features, Labels, Sample, checked, saturating
from modelgif.transferability.score import Score


def leep(probabilities: Features, labels: Labels, *, log: bool = True) -> float:
    """Returns the log expected empirical prediction of the target labels.

    The source class z of a sample is drawn by the source model, and the target class by the
    empirical p(y | z); the score is the mean log probability of the true class.

    At most 0 (1 without the logarithm), where it warns of saturation.
    Source: Nguyen et al., LEEP, ICML 2020.

    Args:
        probabilities: the source model's class probabilities of the target data, ``[N, Z]``.
        labels: target classes, ``[N]``, any integers.
        log: whether to take the logarithm before the mean, as the paper; some programs do not.

    Raises:
        ValueError: for rows that are no probabilities, and as every score for a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import leep
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> probabilities = torch.eye(2)[[0, 0, 1, 1, 1, 1]]
        >>> round(leep(probabilities, labels), 3)
        -0.375
    """
    score = expected_prediction(checked(probabilities, labels, constant=True), log=log)
    return saturating(score, 0.0 if log else 1.0, "LEEP")


def nce(probabilities: Features, labels: Labels) -> float:
    """Returns the negative conditional entropy, in nats, of target labels given source labels.

    The source label of a sample is its most probable source class. At most 0, where it warns of
    saturation.
    Source: Tran et al., Transferability and Hardness of Supervised Classification Tasks,
    ICCV 2019.

    Args:
        probabilities: the source model's class probabilities of the target data, ``[N, Z]``.
        labels: target classes, ``[N]``, any integers.

    Raises:
        ValueError: as `leep`.

    Example:
        >>> import torch
        >>> from modelgif.transferability import nce
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> probabilities = torch.eye(2)[[0, 0, 1, 1, 1, 1]]
        >>> round(nce(probabilities, labels), 3)
        -0.375
    """
    sample = checked(probabilities, labels, constant=True)
    _check_probabilities(sample.features)
    hard = torch.nn.functional.one_hot(sample.features.argmax(1), sample.features.shape[1])
    joint = _joint(sample._replace(features=hard.to(torch.float64)))
    # −H(Y | Z) = H(Z) − H(Y, Z)
    score = torch.special.entr(joint.sum(0)).sum() - torch.special.entr(joint).sum()
    return saturating(min(float(score), 0.0), 0.0, "NCE")


def expected_prediction(sample: Sample, *, log: bool) -> float:
    """Returns the mean (log) probability of the true class, the features being p(z | sample)."""
    joint = _joint(sample)
    # A source class that no sample is given weighs nothing below, whatever stands here.
    conditional = joint / joint.sum(0).clamp(min=torch.finfo(joint.dtype).tiny)
    expected = (sample.features * conditional[sample.labels]).sum(1)
    return float(expected.log().mean() if log else expected.mean())


def _joint(sample: Sample) -> Tensor:
    """Returns the empirical p(y, z), ``[C, Z]``."""
    _check_probabilities(sample.features)
    return sample.class_means() * (sample.counts / len(sample.labels))[:, None]


def _check_probabilities(rows: Tensor) -> None:
    if (rows < 0).any() or (rows.sum(1) - 1).abs().max() > 1e-4:
        raise ValueError(
            "expected rows of probabilities, at least 0 and summing to 1, got values in "
            f"[{float(rows.min()):.4g}, {float(rows.max()):.4g}]; apply a softmax to logits."
        )


SCORES = (
    Score(
        leep,
        title="LEEP",
        measures="log probability of the true class given the source model's classes",
        source="Nguyen et al., LEEP, ICML 2020",
        needs="probabilities",
        invariances=frozenset({"class names", "order"}),
        saturates_at=0.0,
    ),
    Score(
        nce,
        title="NCE",
        measures="negative conditional entropy of the labels given source labels",
        source="Tran et al., Transferability and Hardness of Supervised "
        "Classification Tasks, ICCV 2019",
        needs="probabilities",
        invariances=frozenset({"class names", "order"}),
        saturates_at=0.0,
    ),
)
