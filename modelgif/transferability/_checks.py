"""What every transferability score asks of its inputs, and what it says of its result."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

# Features ``[N, D]``, a NumPy array or a tensor; labels ``[N]``, also a sequence of integers.
Features = Tensor | np.ndarray
Labels = Any


_LARGEST = 1e100


class SaturationWarning(UserWarning):
    """A score reached its upper bound and can order models no further."""


class SmallClassWarning(UserWarning):
    """A class has one sample, so that its spread is unknown."""


class Sample(NamedTuple):
    """Checked features ``[N, D]`` in float64, labels ``0 .. C-1`` ``[N]`` and class sizes ``[C]``.

    `counts` is in float64 and every tensor lies on the device of the features.
    """

    features: Tensor
    labels: Tensor
    counts: Tensor

    @property
    def n_classes(self) -> int:
        """The number C of classes that occur."""
        return len(self.counts)

    @property
    def one_hot(self) -> Tensor:
        """Class membership, ``[N, C]``."""
        return torch.nn.functional.one_hot(self.labels, self.n_classes).to(torch.float64)

    def class_means(self) -> Tensor:
        """The mean feature of every class, ``[C, D]``."""
        sums = self.features.new_zeros(self.n_classes, self.features.shape[1])
        return sums.index_add_(0, self.labels, self.features) / self.counts[:, None]


def checked(features: Features, labels: Labels, *, constant: bool = False) -> Sample:
    """Returns `features` and `labels` checked and in one form, the originals untouched.

    Args:
        features: one row per sample.
        labels: one per sample.
        constant: whether features that are the same for all samples say something.

    Raises:
        ValueError: for features that are not a finite ``[N, D]``, that are constant, or whose
            squares leave the range of float64; labels that are not N integers, or fewer than two
            classes.
    """
    x = checked_matrix(features, "features")
    _check_range(x, constant=constant)
    y = _integers(labels).to(x.device)
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"expected one label per row of features, {len(x)}, got labels {list(y.shape)}."
        )
    classes, y, counts = torch.unique(y, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"expected at least two classes, got only {classes.tolist()}.")
    single = classes[counts == 1].tolist()
    if single:
        warnings.warn(
            f"{len(single)} of {len(classes)} classes have one sample and no spread: {single[:5]}. "
            "Give them more samples, or leave them out.",
            SmallClassWarning,
            stacklevel=3,
        )
    return Sample(x, y, counts.to(torch.float64))


def checked_matrix(values: Features, name: str) -> Tensor:
    """Returns `values` as a finite float64 tensor ``[N, D]`` on its own device.

    Raises:
        ValueError: for another shape, no rows or columns, or values that are not finite.
    """
    if isinstance(values, Tensor):
        matrix = values.detach().to(torch.float64)
    else:
        # PyTorch warns of memory that is read-only, though nothing here writes to it.
        array = np.ascontiguousarray(values, dtype=np.float64)
        matrix = torch.from_numpy(array if array.flags.writeable else array.copy())
    if matrix.ndim != 2 or not matrix.numel():
        raise ValueError(f"{name} must be a non-empty matrix [N, D], got {list(matrix.shape)}.")
    # The sum is finite only if all of it is, unless it overflows, and needs no second matrix.
    bad = 0
    if not torch.isfinite(matrix.sum()):
        bad = len(matrix) - int(torch.isfinite(matrix).all(1).sum())
    if bad:
        raise ValueError(f"{name} must be finite, but {bad} of {len(matrix)} rows are not.")
    return matrix


def _check_range(x: Tensor, *, constant: bool) -> None:
    low, high = torch.aminmax(x, dim=0)
    largest = torch.maximum(high, -low).max().item()
    if not constant and len(x) > 1 and torch.equal(low, high):
        # Rounding would give them a spread, and any score.
        raise ValueError(
            f"the features are constant: all {len(x)} samples have the same, so that they "
            "distinguish no classes. Look for a layer that is dead or saturated."
        )
    if largest and not 1 / _LARGEST < largest < _LARGEST:
        raise ValueError(
            f"features of up to {largest:.1g} cannot be squared in float64: divide them all by one "
            "number."
        )


def saturating(score: float, bound: float, name: str, *, rounding: float = 1e-12) -> float:
    """Returns `score`, and warns when it has reached its upper bound but for `rounding`."""
    if score >= bound - rounding:
        warnings.warn(
            f"{name} is saturated at {score:.6g}: models that reach it are tied. "
            "Compare them by a score that is not bounded, such as LogME.",
            SaturationWarning,
            stacklevel=3,
        )
    return score


def _integers(labels: Labels) -> Tensor:
    if isinstance(labels, Tensor):
        whole = not (labels.is_floating_point() or labels.is_complex())
        if whole and labels.dtype != torch.bool:
            return labels.detach().to(torch.int64)
    else:
        labels = np.array(labels)
        if labels.dtype.kind in "iu":
            return torch.from_numpy(labels.astype(np.int64))
    raise ValueError(f"labels must be integers, got {labels.dtype}; number the classes first.")
