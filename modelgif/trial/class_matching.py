"""Classes of two models matched by their answers, where one gives them in another order."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

# Below half an agreement: it decides between orders that agree at as many references.
_OWN_ORDER = 0.25


def matched_classes(a: Tensor, b: Tensor, n_classes: int) -> Tensor:
    """Returns, for each class of `b`, the class of `a` that agrees with it best, ``[n_classes]``.

    The matching is one to one and has the most agreements; of orders that agree as often, that
    which leaves more classes as they are.

    Args:
        a: labels of one model at the references, ``[N]``.
        b: labels of the other at the same references, ``[N]``.
        n_classes: of both.

    Example:
        >>> matched_classes(torch.tensor([0, 1, 2, 1]), torch.tensor([1, 2, 0, 2]), 3)
        tensor([2, 0, 1])
    """
    agreements = np.zeros((n_classes, n_classes))
    np.add.at(agreements, (b.numpy(), a.numpy()), 1)
    agreements += _OWN_ORDER * np.eye(n_classes) / n_classes
    _, columns = linear_sum_assignment(agreements, maximize=True)
    return torch.from_numpy(columns)
