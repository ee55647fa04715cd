"""Matrices of similarities between the references that one model sees, ``[N, N]`` in float64."""

import torch
from torch import Tensor


def cosine_matrix(rows: Tensor) -> Tensor:
    """Returns the cosines of all pairs of `rows` ``[N, D]``.

    A zero row has no direction: its cosine is 1 with another zero row, and 0 with any other.
    """
    rows = rows.double()
    largest = rows.abs().amax(1, keepdim=True)
    # By the largest entry first, so that squares of tiny or huge entries stay in range.
    rows = rows / largest.where(largest > 0, 1)
    norm = rows.norm(dim=1, keepdim=True)
    unit = rows / norm.where(norm > 0, 1)
    zero = (norm == 0).double()
    return (unit @ unit.T + zero @ zero.T).clamp(-1, 1)


def pearson_matrix(rows: Tensor) -> Tensor:
    """Returns the Pearson correlations of all pairs of `rows` ``[N, D]``.

    A constant row counts as a zero row in `cosine_matrix`.
    """
    rows = rows.double()
    centred = rows - rows.mean(1, keepdim=True)
    # The mean of a constant row may be off by rounding, which would then be all there is.
    constant = (rows == rows[:, :1]).all(1, keepdim=True)
    return cosine_matrix(centred.where(~constant, 0))


def linear_matrix(rows: Tensor) -> Tensor:
    """Returns the inner products of all pairs of `rows` ``[N, D]``."""
    rows = rows.double()
    return rows @ rows.T


def gaussian_matrix(rows: Tensor, *, bandwidth: float) -> Tensor:
    """Returns ``exp(−d² / (2 bandwidth² median(d²)))`` of the distances d of `rows` ``[N, D]``.

    The median is over all N² pairs, each row with itself included. Where it is zero, more than
    half of them being equal, equal rows are at 1 and all others at 0.
    """
    square = torch.cdist(rows.double(), rows.double(), compute_mode=_EXACT).square()
    values = square.flatten().sort().values
    middle = len(values) // 2
    median = (values[middle] + values[(len(values) - 1) // 2]) / 2
    spread = 2 * bandwidth**2 * median
    return torch.exp(-square / spread.where(spread > 0, 1)).where(
        spread > 0, (square == 0).double()
    )


def laplacian_matrix(rows: Tensor) -> Tensor:
    """Returns ``exp(−‖x − y‖₁ / D)`` of all pairs of `rows` ``[N, D]``."""
    rows = rows.double()
    return torch.exp(-torch.cdist(rows, rows, p=1) / rows.shape[1])


def centred(matrix: Tensor, *, unbiased: bool = False) -> Tensor:
    """Returns a symmetric `matrix` ``[N, N]`` with rows and columns centred.

    What is left of a constant matrix is zero, and not the rounding of its entries.

    Args:
        matrix: symmetric.
        unbiased: whether the diagonal is left out, by which inner products of two results are
            unbiased up to a factor; needs N of at least 4.

    Source: Székely and Rizzo, Partial distance correlation with methods for dissimilarities,
    The Annals of Statistics 42(6), 2014, for the unbiased one.
    """
    n = len(matrix)
    if unbiased:
        off_diagonal = matrix.clone().fill_diagonal_(0)
        means = off_diagonal.sum(0) / (n - 2)
        middle = means.sum() / (2 * n - 2)
        result = off_diagonal - (means - middle)[:, None] - (means - middle)[None, :]
        result.fill_diagonal_(0)
    else:
        means = matrix.mean(0)
        result = matrix - means[:, None] - means[None, :] + means.mean()
    rounding = 8 * n * torch.finfo(matrix.dtype).eps * matrix.abs().max()
    return result.where(result.abs().max() > rounding, 0)


def standardised(features: Tensor) -> Tensor:
    """Returns `features` ``[N, D]`` with every dimension at mean 0 and standard deviation 1.

    A constant dimension becomes zero.
    """
    spread = features.std(0, correction=0)
    constant = (features == features[:1]).all(0)
    scaled = (features - features.mean(0)) / spread.where(spread > 0, 1)
    return scaled.where(~constant, 0)


# cdist's other mode goes through inner products, and loses small distances to cancellation.
_EXACT = "donot_use_mm_for_euclid_dist"
