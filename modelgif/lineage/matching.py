"""The best one-to-one matching of units, with ties broken by chance."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def match_units(similarity: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Returns, for each column, the row that is matched to it, or -1.

    The matching has the largest sum of similarities. Columns are put in random order first and
    back afterwards. This makes the matching equivariant in law: whatever a solver does with ties,
    such as units that are alike or dead, it does to a random order, and so a column's number can
    not steer it.

    Args:
        similarity: ``[n_rows, n_columns]``.
        rng: of the order.

    Example:
        >>> match_units(torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.2, 0.1]]), np.random.default_rng(0))
        array([ 1,  0, -1])
    """
    order = rng.permutation(similarity.shape[1])
    shuffled = similarity[:, torch.from_numpy(order)]
    found = np.full(similarity.shape[1], -1)
    best = shuffled.argmax(0).numpy()
    if shuffled.shape[1] <= shuffled.shape[0] and len(np.unique(best)) == len(best):
        # Each column has its best row for itself: no assignment has a larger sum.
        found[order] = best
        return found
    rows, columns = linear_sum_assignment(shuffled.double().numpy(), maximize=True)
    found[order[columns]] = rows
    return found
