"""Transfer affinities: which sources serve a target best, from the losses of trained transfers.

Source: Zamir et al., Taskonomy: Disentangling Task Transfer Learning, CVPR 2018, section 3.3
(ordinal normalisation by the analytic hierarchy process).
"""

from collections.abc import Mapping, Sequence

import numpy as np

# How often a source may be said to beat another: a ratio of win rates must stay finite.
CLIP = (0.001, 0.999)


def affinity_matrix(
    transfers: Mapping[str, tuple[Sequence[str], np.ndarray]],
    tasks: Sequence[str],
    *,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the affinity of each source (row) for each target (column), ``[M, M]``.

    A column says how good its sources are relative to each other and adds up to 1; between columns
    nothing is comparable but orders.

    Args:
        transfers: by target, its sources and the losses ``[M, N]`` of each on the same N test
            images; from `task_relatedness.transfer.read_transfer`.
        tasks: which, and in which order.
        counts: how often each test image counts, ``[..., N]``, such as draws of a bootstrap; the
            result is then ``[..., M, M]``. Once each when left out.

    Raises:
        ValueError: when a target or one of its sources is missing, or a loss is not finite.
    """
    columns = []
    for target in tasks:
        if target not in transfers:
            raise ValueError(
                f"no transfer to {target}, only to {', '.join(transfers) or 'none'}: "
                "run the stage transfer to its end."
            )
        sources, losses = list(transfers[target][0]), np.asarray(transfers[target][1], dtype=float)
        if missing := [task for task in tasks if task not in sources]:
            raise ValueError(f"no transfer to {target} from {', '.join(missing)}.")
        rows = losses[[sources.index(task) for task in tasks]]
        try:
            columns.append(principal_vector(win_rates(rows, counts=counts)))
        except ValueError as error:
            raise ValueError(f"transfer to {target}: {error}") from error
    return np.stack(columns, axis=-1)


def win_rates(losses: np.ndarray, *, counts: np.ndarray | None = None) -> np.ndarray:
    """Returns on which share of images source i has a smaller loss than source j, ``[M, M]``.

    Ties count half, so that the rates of (i, j) and (j, i) add up to 1 and the diagonal is 1/2.

    Args:
        losses: of M sources on N images, ``[M, N]``.
        counts: how often each image counts, ``[..., N]``; the result is then ``[..., M, M]``.

    Raises:
        ValueError: for losses that are not finite or not a matrix, or counts that do not fit.
    """
    if losses.ndim != 2 or 0 in losses.shape or not np.isfinite(losses).all():
        raise ValueError(f"expected finite losses [M, N] of at least one image, got {losses.shape}")
    times = np.ones(losses.shape[1]) if counts is None else np.asarray(counts, dtype=float)
    if times.shape[-1:] != losses.shape[1:]:
        raise ValueError(f"expected counts of {losses.shape[1]} images, got {times.shape}")
    n_sources, n_images = losses.shape
    wins = (losses[:, None] < losses) + (losses[:, None] == losses) / 2
    rates = times @ wins.reshape(n_sources**2, n_images).T / times.sum(-1, keepdims=True)
    return rates.reshape(*times.shape[:-1], n_sources, n_sources)


def principal_vector(rates: np.ndarray) -> np.ndarray:
    """Returns how good each source is, ``[..., M]``: positive, with sum 1.

    It is the eigenvector of the largest eigenvalue of W / Wᵀ, the matrix of how many times more
    often i beats j than j beats i (Saaty's analytic hierarchy process), where W is clipped to
    `CLIP`.

    Args:
        rates: win rates W, ``[..., M, M]``.
    """
    clipped = np.clip(rates, *CLIP)
    values, vectors = np.linalg.eig(clipped / np.swapaxes(clipped, -1, -2))
    # The matrix is positive, so by Perron and Frobenius its largest eigenvalue is real and simple,
    # and that eigenvector, alone of all, has one sign.
    largest = np.real(values).argmax(-1)[..., None, None]
    vector = np.real(np.take_along_axis(vectors, largest, axis=-1)[..., 0])
    return vector / vector.sum(-1, keepdims=True)
