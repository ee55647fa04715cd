"""Neighbouring pixels."""

import numpy as np

# Rows and columns to a neighbour.
SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def shifted(values: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Returns for each pixel of ``[H, W, ...]`` the value of its neighbour at `step`.

    A pixel without that neighbour, at the image's border, is its own.
    """
    rows, columns = (np.arange(length) + by for length, by in zip(values.shape, step, strict=False))
    rows, columns = rows.clip(0, values.shape[0] - 1), columns.clip(0, values.shape[1] - 1)
    return values[rows[:, None], columns[None, :]]
