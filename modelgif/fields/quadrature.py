"""Quadrature rules on the path from a baseline to a reference."""

from typing import Literal, NamedTuple, get_args

import numpy as np
import scipy.special
import torch
from torch import Tensor

Rule = Literal[
    "gausslegendre",
    "gaussradau",
    "riemann_left",
    "riemann_right",
    "riemann_middle",
    "riemann_trapezoid",
]
RULES: tuple[str, ...] = get_args(Rule)


class Quadrature(NamedTuple):
    """A rule on [0, 1] with ``S`` nodes, float64.

    Attributes:
        nodes: ``[S]``, increasing.
        weights: ``[S]``; ``weights @ g(nodes)`` approximates the integral of ``g`` over [0, 1].
        partial: ``[S, S]``; row ``k`` weighs the gradients of *all* nodes in the field's step
            ``k``. For the rules of the paper this is the lower triangle of the weights, that is, a
            running sum; for ``gaussradau`` row ``k`` integrates from 0 to ``nodes[k]``.
    """

    nodes: Tensor
    weights: Tensor
    partial: Tensor


def quadrature(rule: Rule, n_steps: int) -> Quadrature:
    """Returns the nodes and weights of `rule` with `n_steps` nodes on [0, 1].

    The first five rules are those of the released ModelGiF code and of captum, whose trapezoid
    has ``S`` nodes but weights ``1/S`` (half at both ends), so that they sum to ``(S - 1)/S``.

    Running sums of Gauss-Legendre weights are not integrals up to the nodes: for a constant
    gradient the sum after step ``k`` misses ``nodes[k]`` by half a weight, up to 0.0156 at 50
    steps. ``gaussradau`` has no such error: its last node is 1, its step ``k`` integrates the
    polynomial through all ``S`` gradients exactly from 0 to ``nodes[k]``, and its last step is the
    Gauss-Radau rule, exact to degree ``2S - 2``. The price is that every step of the field depends
    on every gradient of the path; for piecewise linear networks, whose gradients jump, the two
    kinds of rule converge equally fast.

    Raises:
        ValueError: for an unknown rule or fewer than one step.

    Example:
        >>> nodes, weights, _ = quadrature("gausslegendre", 3)
        >>> round((weights * nodes**5).sum().item(), 12)
        0.166666666667

    Source: ModelGiF (Song et al., ICCV 2023), section 3; integration matrix of the Radau IIA
    collocation methods (Hairer & Wanner, Solving Ordinary Differential Equations II, IV.5).
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}, got {rule!r}.")
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps}.")
    if rule == "gaussradau":
        nodes, weights = _gauss_radau(n_steps)
        partial = _integration_matrix(nodes, weights)
    else:
        nodes, weights = _summed(rule, n_steps)
        partial = np.tril(np.broadcast_to(weights, (n_steps, n_steps)))
    return Quadrature(
        *(torch.from_numpy(np.ascontiguousarray(a)) for a in (nodes, weights, partial))
    )


def _summed(rule: Rule, n: int) -> tuple[np.ndarray, np.ndarray]:
    if rule == "gausslegendre":
        t, w = np.polynomial.legendre.leggauss(n)
        return (1 + t) / 2, w / 2
    step, weights = np.arange(n), np.full(n, 1 / n)
    if rule == "riemann_left":
        return step / n, weights
    if rule == "riemann_right":
        return (step + 1) / n, weights
    if rule == "riemann_middle":
        return (step + 0.5) / n, weights
    weights[0] /= 2
    weights[-1] /= 2
    return np.linspace(0, 1, n), weights


def _gauss_radau(n: int) -> tuple[np.ndarray, np.ndarray]:
    # Right Radau: t = 1 and the Gauss-Jacobi nodes of the weight (1 - t), whose weights include it.
    if n == 1:
        return np.ones(1), np.ones(1)
    t, w = scipy.special.roots_jacobi(n - 1, 1, 0)
    return np.append((1 + t) / 2, 1), np.append(w / (1 - t) / 2, 1 / n**2)


def _integration_matrix(nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``A[k, j] = ∫_0^{nodes[k]} L_j`` for the Lagrange polynomials ``L_j`` of the Radau nodes.

    Expanded in Legendre polynomials, which the rule integrates pairwise exactly (degree 2S - 2):
    ``L_j = w_j Σ_l (2l + 1) P_l(t_j) P_l`` on [0, 1], and
    ``(2l + 1) ∫_{-1}^{t} P_l = P_{l+1}(t) - P_{l-1}(t)``.
    """
    n, t = len(nodes), 2 * nodes - 1
    legendre = scipy.special.eval_legendre(np.arange(n + 1)[:, None], t)
    integral = np.empty((n, n))
    integral[0] = 1 + t
    integral[1:] = legendre[2:] - legendre[:-2]
    return (integral.T @ legendre[:n]) * weights / 2
