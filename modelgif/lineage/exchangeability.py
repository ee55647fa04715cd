"""Signs that an initialisation told the units of a layer apart by their numbers.

The test of a common origin rests on the units of a layer being treated alike. `nn.init.dirac_` and
`eye_`, fixed filters in their order and values such as 1, 2, 3, … break this, and two networks so
initialised match unit by unit without a common origin. Each sign here is a test of one network's
tensor for itself: under exchangeable units it comes up with a chance below 1e-4 or so, and then the
layer is only left out, which costs power, never validity.
"""

import math

import numpy as np
import torch
from scipy.stats import binom
from torch import Tensor

from modelgif.lineage._null import log_increasing, longest_increasing

_LOG_LEVEL = math.log(1e-5)
_LOG_SUSPICIOUS = math.log(1e-3)
_SIGMAS = 7.0
_FEW_SIGMAS = 4.0
_MAX_VALUES = 256


def paired_by_number(weight: Tensor) -> str:
    """Returns why units on the first axis seem tied to those on the second, or an empty string.

    Args:
        weight: ``[n_units, m_units, ...]``.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> w = torch.nn.init.dirac_(torch.empty(32, 32, 3, 3))
        >>> paired_by_number(w + 0.02 * torch.randn_like(w))
        'its weights are largest on the diagonal, as after dirac_ or eye_'
        >>> paired_by_number(torch.randn(32, 32, 3, 3))
        ''
    """
    n, m = weight.shape[:2]
    if min(n, m) < 2:
        return ""
    cells = weight.flatten(2) if weight.ndim > 2 else weight[..., None]
    rows = torch.arange(n)
    squares = cells.square()
    energy = squares.sum(2)
    largest = energy.argmax(1)
    # Columns that no row differs in have no largest.
    telling = energy.amax(1) > energy.amin(1)
    hits = int((largest == rows % m)[telling].sum())
    count = int(telling.sum())
    diagonal = "its weights are largest on the diagonal, as after dirac_ or eye_"
    if count and binom.logsf(hits - 1, count, 1 / m) < _LOG_LEVEL:
        # One strong column for all is no diagonal.
        share = torch.bincount(largest[telling] % m, minlength=m).max() / count
        if m < n or float(share) < 0.5:
            return diagonal
    values = cells[rows, rows % m]
    mean = cells.mean((0, 1))
    spread = (squares.mean((0, 1)) - mean.square()).clamp_min(0).sqrt() / math.sqrt(n)
    shift = (values.mean(0) - mean).abs()
    if n >= 8 and bool((shift > _SIGMAS * spread).any()):
        return diagonal
    if longest_at_all(largest[telling].numpy()) < _LOG_LEVEL:
        return "its units follow the order of the units before them"
    return ""


def told_apart(rows: Tensor, *, suspicious: bool = False) -> str:
    """Returns why units seem to be numbered by what they do, or an empty string.

    Some numbers that sum up a unit, such as its mean and how fast its values change, must not rise
    or fall with its number, and neighbours must be as unlike as others.

    Args:
        rows: ``[n_units, n_values]``.
        suspicious: take weaker signs. A tensor that is the same to the last bit in two networks may
            be a design, such as an embedding of positions in sines, or a layer left frozen.

    Example:
        >>> told_apart(torch.linspace(0, 1, 40)[:, None])
        'its values follow the order of the units'
        >>> told_apart(torch.ones(40, 1))
        ''
    """
    level, sigmas = (_LOG_SUSPICIOUS, _FEW_SIGMAS) if suspicious else (_LOG_LEVEL, _SIGMAS)
    n = len(rows)
    # A few hundred values show which units are alike.
    rows = rows[:, :: -(-rows.shape[1] // _MAX_VALUES)]
    summaries = [rows[:, 0]]
    if rows.shape[1] > 1:
        changes = rows[:, 1:] - rows[:, :-1]
        summaries += [rows[:, -1], rows.mean(1), rows.norm(dim=1), changes.norm(dim=1)]
    if any(
        longest_at_all(values.numpy()) + math.log(len(summaries)) < level for values in summaries
    ):
        return "its values follow the order of the units"
    if n < 16 or rows.shape[1] == 1:
        return ""
    centred = rows - rows.mean(0)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-12)
    near = (unit[1:] * unit[:-1]).sum(1)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    other = (unit[order][1:] * unit[order][:-1]).sum(1)
    spread = float(torch.cat([near, other]).std()) * math.sqrt(2 / (n - 1))
    if spread > 0 and abs(float(near.mean() - other.mean())) > sigmas * spread:
        return "neighbouring units are alike, or in turns"
    return ""


def longest_at_all(values: np.ndarray) -> float:
    """Returns log p of the longest rising or falling subsequence, twice the smaller's bound.

    Ties count as neither, which makes them shorter than those of distinct values.
    """
    if len(values) < 2:
        return 0.0
    found = max(longest_increasing(values), longest_increasing(-np.asarray(values)))
    return min(0.0, math.log(2) + log_increasing(len(values), found))
