"""Attribution maps and the graphs made of them."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import Tensor, nn

from modelgif import gradient_field
from modelgif.distances.distance import ZeroCellWarning, distance
from modelgif.methods import attribution, depara

N = 12


def network(seed: int) -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 16, 5)
    ).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.rand(N, 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_maps_equal_captum_s(x: Tensor) -> None:
    net = network(0)
    target = net(x).argmax(1)
    assert len(target.unique()) > 1
    start = torch.full((1, 2, 6, 6), 0.5, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    expected = {
        "gradient": Saliency(net).attribute(leaf, target=target, abs=False),
        "saliency": Saliency(net).attribute(leaf, target=target),
        "gradient_times_input": InputXGradient(net).attribute(leaf, target=target),
        "integrated_gradients": IntegratedGradients(net).attribute(
            leaf, start, target=target, n_steps=20
        ),
    }
    for kind in attribution.KINDS:
        integrated = kind == "integrated_gradients"
        found = attribution.describe(
            net, x, kind=kind, baseline=0.5 if integrated else 0.0, n_steps=20
        )
        assert found.shape == (N, 1, 2, 6, 6)
        # Captum's nodes and weights are of float32.
        tolerance = 1e-6 if integrated else 1e-12
        torch.testing.assert_close(
            found[:, 0], expected[kind].detach(), atol=tolerance, rtol=tolerance
        )


def test_integrated_gradients_are_the_last_step_of_the_field_whatever_is_held_at_once(
    x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(0)
    starts = x.flip(0) / 2
    labels = torch.arange(N) % 5
    expected = gradient_field(net, x, target=labels, baseline=starts, n_steps=10)[:, -1:]
    for numbers in (1, 10 * 72 * 5, 2**26):
        monkeypatch.setattr(attribution, "_BLOCK_NUMBERS", numbers)
        found = attribution.describe(
            net, x, kind="integrated_gradients", target=labels, baseline=starts, n_steps=10
        )
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    with pytest.raises(ValueError, match="11 labels do not fit 12 references"):
        attribution.describe(net, x, kind="integrated_gradients", target=labels[1:])


def test_gradient_times_input_starts_at_the_baseline(x: Tensor) -> None:
    net = network(0)
    mean = torch.full((2, 1, 1), 0.3, dtype=torch.float64)
    gradient = attribution.describe(net, x, kind="gradient")
    found = attribution.describe(net, x, kind="gradient_times_input", baseline=mean)
    torch.testing.assert_close(found, gradient * (x - 0.3)[:, None])


@pytest.mark.parametrize("kind", attribution.KINDS)
def test_distance_is_the_mean_of_one_minus_the_cosine(kind: Any, x: Tensor) -> None:
    first, second = (attribution.describe(network(seed), x, kind=kind) for seed in (0, 1))
    plain = [
        scipy.spatial.distance.cosine(a.flatten(), b.flatten())
        for a, b in zip(first, second, strict=True)
    ]
    assert attribution.compare(first, second) == pytest.approx(np.mean(plain), rel=1e-9)
    np.testing.assert_allclose(attribution.per_reference(first, second), plain, rtol=1e-9)


@pytest.mark.parametrize("kind", attribution.KINDS)
def test_the_scale_and_shift_of_logits_do_not_matter(kind: Any, x: Tensor) -> None:
    net = network(0)
    first = attribution.describe(net, x, kind=kind)
    second = attribution.describe(lambda z: 7 * net(z) + 3, x, kind=kind)
    assert attribution.compare(first, second) == pytest.approx(0, abs=1e-12)


def test_zero_maps_are_counted(x: Tensor) -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(0)

        def forward(self, z: Tensor) -> Tensor:
            return self.net(z) * (z[:, :1, 0, 0] > 0.5)

    first = attribution.describe(Blind(), x, kind="gradient")
    second = attribution.describe(network(0), x, kind="gradient")
    n_blind = int((x[:, 0, 0, 0] <= 0.5).sum())
    assert 0 < n_blind < N
    with pytest.warns(ZeroCellWarning, match=f"field a: {n_blind}:"):
        found = attribution.compare(first, second)
    assert found == pytest.approx(n_blind / N, abs=1e-12)


def test_bad_input_is_refused(x: Tensor) -> None:
    with pytest.raises(ValueError, match="kind must be one of gradient, saliency"):
        attribution.describe(network(0), x, kind="grad_cam")  # pyright: ignore
    with pytest.raises(ValueError, match="attribution maps at the same references"):
        attribution.compare(torch.ones(2, 1, 3), torch.ones(3, 1, 3))


def test_graphs_equal_a_plain_loop(x: Tensor) -> None:
    graphs, nodes, edges = [], [], []
    for seed in (0, 1):
        net = network(seed)
        graphs.append(depara.describe(net, x))
        maps, features = [], []
        for image in x:
            leaf = image.clone().requires_grad_()
            output = net(leaf[None])[0]
            (gradient,) = torch.autograd.grad(output.sum(), leaf)
            maps.append((gradient * image).flatten().numpy())
            features.append(output.detach().numpy())
        nodes.append(maps)
        edges.append(1 - scipy.spatial.distance.pdist(features, "cosine"))
    apart = np.mean([scipy.spatial.distance.cosine(a, b) for a, b in zip(*nodes, strict=True)])
    unlike = 1 - scipy.stats.spearmanr(*edges).statistic
    for weight in (0.0, 1.0, 3.5):
        expected = (apart + weight * unlike) / (1 + weight)
        found = depara.compare(graphs[0], graphs[1], edge_weight=weight)
        assert found == pytest.approx(expected, rel=1e-9)
    assert abs(apart - unlike) > 1e-3
    assert depara.compare(graphs[0], graphs[1].to("cpu")) == depara.compare(*graphs)


def test_graphs_and_their_limits(x: Tensor) -> None:
    graph = depara.describe(network(0), x)
    assert graph.nodes.shape == (N, 1, 2, 6, 6)
    assert graph.edges.shape == (N * (N - 1) // 2,)
    # Features are scale-free along edges, and nodes along maps.
    scaled = depara.describe(nn.Sequential(network(0), Times(5.0)), x)
    assert depara.compare(graph, scaled) == pytest.approx(0, abs=1e-9)
    assert distance(graph.nodes, scaled.nodes) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="at least 3 references"):
        depara.describe(network(0), x[:2])
    for weight in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match="edge_weight must be a finite number"):
            depara.compare(graph, graph, edge_weight=weight)


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x
