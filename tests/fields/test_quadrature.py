import json
from pathlib import Path

import numpy as np
import pytest
import torch

from modelgif.fields.quadrature import RULES, quadrature

SUMMED = [rule for rule in RULES if rule != "gaussradau"]


@pytest.mark.parametrize("n_steps", [1, 2, 5, 50])
@pytest.mark.parametrize("rule", RULES)
def test_shapes_order_and_precision(rule, n_steps: int) -> None:
    nodes, weights, partial = points = quadrature(rule, n_steps)
    assert [t.shape for t in points] == [(n_steps,), (n_steps,), (n_steps, n_steps)]
    assert all(t.dtype == torch.float64 and t.is_contiguous() for t in points)
    assert (nodes.diff() > 0).all()
    assert nodes[0] >= 0
    assert nodes[-1] <= 1
    torch.testing.assert_close(partial[-1], weights, rtol=0, atol=1e-15)


@pytest.mark.parametrize("rule", ["left", "right", "middle", "trapezoid"])
def test_riemann_rules_are_those_that_captum_asserts(golden: Path, rule: str) -> None:
    cases = json.loads((golden / "captum_ig_cases.json").read_text())["quadrature"]["cases"]
    assert [case["n"] for case in cases] == [2, 3, 4]
    for case in cases:
        nodes, weights, _ = quadrature(f"riemann_{rule}", case["n"])  # type: ignore[arg-type]
        kind = "trapezoid" if rule == "trapezoid" else "left_right_middle"
        np.testing.assert_allclose(nodes, case[rule], rtol=0, atol=1e-15)
        np.testing.assert_allclose(weights, case[f"weights_{kind}"], rtol=0, atol=1e-15)


def test_trapezoid_is_weighted_as_captum_does_and_so_biased() -> None:
    for n_steps in (2, 5, 50):
        total = quadrature("riemann_trapezoid", n_steps).weights.sum().item()
        assert total == pytest.approx((n_steps - 1) / n_steps, abs=1e-14)


@pytest.mark.parametrize("rule", ["gausslegendre", "gaussradau"])
@pytest.mark.parametrize("n_steps", [1, 2, 5, 20])
def test_gauss_rules_are_exact_to_their_degree(rule, n_steps: int) -> None:
    nodes, weights, _ = quadrature(rule, n_steps)
    highest = 2 * n_steps - (1 if rule == "gausslegendre" else 2)
    for degree in range(highest + 1):
        assert (weights @ nodes**degree).item() == pytest.approx(1 / (degree + 1), abs=1e-13)
    beyond = (weights @ nodes ** (highest + 1)).item()
    if n_steps <= 5:  # later the error is below rounding
        assert abs(beyond - 1 / (highest + 2)) > 1e-8


def test_radau_nodes_of_two_steps() -> None:
    # Hairer & Wanner, table IV.5.5: the Radau IIA method of order 3.
    nodes, weights, partial = quadrature("gaussradau", 2)
    np.testing.assert_allclose(nodes, [1 / 3, 1], atol=1e-15)
    np.testing.assert_allclose(weights, [3 / 4, 1 / 4], atol=1e-15)
    np.testing.assert_allclose(partial, [[5 / 12, -1 / 12], [3 / 4, 1 / 4]], atol=1e-15)


@pytest.mark.parametrize("n_steps", [1, 2, 5, 20, 50])
def test_radau_partial_integrals_are_exact_for_polynomials(n_steps: int) -> None:
    nodes, _, partial = quadrature("gaussradau", n_steps)
    for degree in range(n_steps):
        exact = nodes ** (degree + 1) / (degree + 1)
        torch.testing.assert_close(partial @ nodes**degree, exact, rtol=0, atol=1e-13)
    assert nodes[-1] == 1


@pytest.mark.parametrize("rule", SUMMED)
def test_the_papers_rules_accumulate_as_running_sums(rule) -> None:
    _, weights, partial = quadrature(rule, 7)
    gradients = torch.linspace(-1, 2, 7, dtype=torch.float64).exp()
    torch.testing.assert_close(partial @ gradients, (weights * gradients).cumsum(0))


def test_running_gauss_legendre_sums_miss_the_partial_integral_by_half_a_weight() -> None:
    nodes, weights, partial = quadrature("gausslegendre", 50)
    missed = (partial.sum(1) - nodes).abs()
    assert missed.max().item() == pytest.approx(0.01555, abs=5e-6)
    torch.testing.assert_close(missed, weights / 2, rtol=0, atol=1e-3)
    radau = quadrature("gaussradau", 50)
    torch.testing.assert_close(radau.partial.sum(1), radau.nodes, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("rule", "n_steps", "message"),
    [
        ("simpson", 5, r"rule must be one of gausslegendre, .*riemann_trapezoid, got 'simpson'"),
        ("gausslegendre", 0, "n_steps must be at least 1, got 0"),
        ("gaussradau", -3, "n_steps must be at least 1, got -3"),
    ],
)
def test_refusals(rule, n_steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quadrature(rule, n_steps)
