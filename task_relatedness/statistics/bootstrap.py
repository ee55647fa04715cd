"""Bootstrap draws: of images, of tasks, and what their spread says."""

import numpy as np


def image_counts(n_images: int, n_bootstrap: int, seed: int) -> np.ndarray:
    """Returns how often each image is drawn when as many as there are are drawn, ``[B, N]``.

    Equal seeds draw the same ones.
    """
    share = np.full(n_images, 1 / n_images)
    return np.random.default_rng(seed).multinomial(n_images, share, size=n_bootstrap)


def resampled(per_reference: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns mean distances over resampled references, ``[B, M, M]``.

    Args:
        per_reference: ``[M, M, N]``.
        counts: how often each reference was drawn, ``[B, N]``.
    """
    return np.moveaxis(per_reference @ counts.T, -1, 0) / counts.sum(1)[:, None, None]


def task_counts(n_tasks: int, n_bootstrap: int, seed: int) -> np.ndarray:
    """Returns how often each task is drawn when as many as there are are drawn, ``[B, M]``.

    A draw of fewer than three different tasks has no order of sources; others take its place.

    Raises:
        ValueError: for fewer than three tasks.
    """
    if n_tasks < 3:
        raise ValueError(f"an order of sources needs at least three tasks, got {n_tasks}.")
    generator = np.random.default_rng(seed)
    kept = np.empty((0, n_tasks), dtype=np.int64)
    while len(kept) < n_bootstrap:
        drawn = generator.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks), size=n_bootstrap)
        kept = np.concatenate([kept, drawn[(drawn > 0).sum(1) >= 3]])
    return kept[:n_bootstrap]


def half_width(draws: np.ndarray) -> float | None:
    """Returns 1.96 standard deviations of what exists of the draws ``[B]``, None without two."""
    known = draws[~np.isnan(draws)]
    return float(1.96 * known.std()) if len(known) > 1 else None
