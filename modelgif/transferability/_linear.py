"""Linear algebra that several scores share: Gram matrices and principal components."""

import scipy.linalg
import torch
from torch import Tensor


def gram(x: Tensor) -> Tensor:
    """Returns ``xᵀ x`` ``[D, D]`` of ``x`` ``[N, D]``."""
    if x.device.type == "cpu":
        # NumPy sees that both factors are one matrix and does half of the work (syrk).
        array = x.numpy()
        return torch.from_numpy(array.T @ array)
    return x.T @ x


def gram_eigen(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the eigenvalues and eigenvectors of the Gram matrix of ``x`` on its smaller side.

    Returns:
        K = min(N, D) eigenvalues ``[K]``, ascending and at least 0, and eigenvectors: of ``xᵀ x``
        ``[D, K]`` when D ≤ N, else of ``x xᵀ`` ``[N, K]``.
    """
    values, vectors = torch.linalg.eigh(gram(x) if x.shape[1] <= x.shape[0] else gram(x.T))
    return values.clamp(min=0), vectors


def gram_projections(x: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the eigenvalues as `gram_eigen`, and the eigenvectors' products with some columns.

    On the CPU the eigenvectors themselves are never formed: the matrix is made tridiagonal by
    reflections, and these are applied to the columns alone, which takes half of the time.

    Args:
        x: ``[N, D]``.
        right: columns on the smaller side, ``[K, C]``.

    Returns:
        Eigenvalues ``[K]`` and Vᵀ `right` ``[K, C]``.
    """
    if x.device.type != "cpu" or min(x.shape) < 2:
        values, vectors = gram_eigen(x)
        return values, vectors.T @ right
    # The transpose of a symmetric matrix is itself, in the order of LAPACK, so nothing is copied.
    matrix = (gram(x) if x.shape[1] <= x.shape[0] else gram(x.T)).numpy().T
    routines = scipy.linalg.get_lapack_funcs(("sytrd", "ormqr"), (matrix,))
    # Both work fastest on blocks of 32 or 64 columns.
    sytrd, ormqr, work = *routines, 64 * (max(*matrix.shape, *right.shape) + 65)
    reflections, diagonal, beside, scales, _ = sytrd(matrix, lower=1, lwork=work, overwrite_a=1)
    values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, beside)
    columns = right.numpy().copy()
    # The reflections leave the first row alone; on the others they are those of a QR.
    columns[1:], _, _ = ormqr("L", "T", reflections[1:, :-1], scales, columns[1:], work)
    return torch.from_numpy(values).clamp(min=0), torch.from_numpy(vectors.T @ columns)


def principal_components(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the principal components of ``x`` ``[N, D]`` and their variances, largest first.

    The largest loading of every component is positive, scikit-learn's convention: the Pearson
    correlation of two samples' components depends on their signs.

    Returns:
        Projections ``[N, K]`` and variances ``[K]`` (divided by N − 1), K = min(N, D).
    """
    centred = x - x.mean(0)
    values, vectors = gram_eigen(centred)
    values, vectors = values.flip(0), vectors.flip(1)
    if x.shape[1] > x.shape[0]:
        projected, loadings = vectors * values.sqrt(), centred.T @ vectors
    else:
        projected, loadings = centred @ vectors, vectors
    largest = loadings.gather(0, loadings.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -projected, projected), values / max(len(x) - 1, 1)
