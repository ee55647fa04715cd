from typing import Any

import pytest
import torch
from torch import Tensor, nn

from modelgif.methods import ipguard, label_agreement
from modelgif.methods.ipguard import boundary_points, compare, describe

N, CLASSES = 40, 4


def network(seed: int) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.rand(N, 10, generator=torch.Generator().manual_seed(0))


def made(net: Any, x: Tensor, seed: int = 3, **options: Any) -> ipguard.BoundaryPoints:
    settings = {"margin": 0.5, "step_size": 0.01, "n_steps": 400} | options
    return boundary_points(net, x, generator=torch.Generator().manual_seed(seed), **settings)


def test_points_lie_behind_the_boundary_by_the_margin_and_just_so(x: Tensor) -> None:
    net = network(0)
    found = made(net, x)
    assert found.reached.float().mean() > 0.5
    with torch.no_grad():
        before, after = net(x), net(found.points)
    own = before.argmax(1)
    best = after.topk(2, 1)
    lead = best.values[:, 0] - best.values[:, 1]
    there = found.reached
    # Another class leads, and the old one comes second.
    assert (best.indices[there, 0] != own[there]).all()
    assert torch.equal(best.indices[there, 1], own[there])
    assert (lead[there] >= 0.5).all()
    # A step of Adam moves logits by a little only, so that points are near the boundary.
    assert lead[there].median() < 0.8
    assert found.points.min() >= 0
    assert found.points.max() <= 1


@pytest.mark.slow
def test_points_do_not_depend_on_their_chunk(x: Tensor) -> None:
    net = network(0)
    whole = made(net, x)
    for size in (1, 7):
        cut = made(net, x, chunk_size=size)
        torch.testing.assert_close(cut.points, whole.points, atol=1e-4, rtol=1e-4)
        assert torch.equal(cut.reached, whole.reached)


def test_the_least_likely_class_is_aimed_at(x: Tensor) -> None:
    net = network(0)
    found = made(net, x, towards="least_likely", n_steps=1500)
    with torch.no_grad():
        before, after = net(x), net(found.points)
    assert found.reached.sum() >= 5
    assert torch.equal(after.argmax(1)[found.reached], before.argmin(1)[found.reached])


def test_other_seeds_aim_at_other_classes_and_one_seed_at_the_same(x: Tensor) -> None:
    net = network(0)
    assert torch.equal(made(net, x).points, made(net, x).points)
    assert not torch.equal(made(net, x).points, made(net, x, seed=4).points)
    generator = torch.Generator().manual_seed(3)
    boundary_points(net, x, margin=0.1, generator=generator, towards="least_likely", n_steps=1)
    other = torch.Generator().manual_seed(3)
    boundary_points(net, x, margin=0.1, generator=other, towards="random", n_steps=1)
    assert torch.equal(generator.get_state(), other.get_state())


def test_a_point_that_cannot_get_there_is_not_reached(x: Tensor) -> None:
    found = made(network(0), x, margin=1000.0, n_steps=40)
    assert not found.reached.any()
    assert found.points.isfinite().all()
    assert not torch.equal(found.points, x)


def test_the_first_step_is_adam_s(x: Tensor) -> None:
    """Adam's first step is its step size against the sign of the gradient of the objective."""
    net = network(0).double()
    start = x.double() * 0.5 + 0.25
    found = made(net, start, towards="least_likely", margin=1000.0, n_steps=1)
    for row in range(N):
        leaf = start[row].clone().requires_grad_()
        z = net(leaf)
        i, j = int(z.argmax()), int(z.argmin())
        third = max(z[t] for t in range(CLASSES) if t not in (i, j))
        value = torch.relu(z[i] - z[j] + 1000) + torch.relu(third - z[i])
        (gradient,) = torch.autograd.grad(value, leaf)
        expected = start[row] - 0.01 * gradient.sign()
        torch.testing.assert_close(found.points[row], expected, atol=1e-6, rtol=0)


def test_two_classes_have_no_third(x: Tensor) -> None:
    net = nn.Sequential(nn.Linear(10, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(2, 10, generator=torch.Generator().manual_seed(1)))
        net[0].bias.copy_(-net[0].weight.sum(1) / 2)
    found = made(net, x, margin=0.1)
    assert found.reached.all()
    with torch.no_grad():
        assert (net(found.points).argmax(1) == 1 - net(x).argmax(1)).all()


def test_a_copy_agrees_at_the_points_where_an_independent_network_does_not(x: Tensor) -> None:
    victim, independent = network(0), network(1)
    near = network(0)
    with torch.no_grad():
        for parameter in near.parameters():
            parameter += 0.01 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(5)
            )
    found = made(victim, x)
    points = found.points[found.reached]
    labels = describe(victim, points)
    assert compare(labels, describe(victim, points)) == 0
    assert compare(labels, describe(near, points)) < 0.1
    assert compare(labels, describe(independent, points)) > 0.4
    assert torch.equal(labels, label_agreement.describe(victim, points))


def test_the_victim_is_left_as_it_was(x: Tensor) -> None:
    net = nn.Sequential(*network(0), nn.Dropout(0.5)).train()
    before = x.clone()
    with torch.inference_mode():
        found = made(net, x)
    assert torch.equal(found.points, made(net.eval(), x).points)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert torch.equal(x, before)


def test_bad_input_is_refused(x: Tensor) -> None:
    net = network(0)
    with pytest.raises(ValueError, match="towards must be one of least_likely, random"):
        made(net, x, towards="nearest")
    for bad in ({"margin": -1.0}, {"step_size": 0.0}, {"n_steps": 0}, {"chunk_size": 0}):
        with pytest.raises(ValueError, match="a margin of at least 0, a positive step_size"):
            made(net, x, **bad)
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\], got values in \[0\.\d+, 2\.\d+\]"):
        made(net, 2 * x + 0.001)
    with pytest.raises(TypeError, match="does not depend differentiably"):
        made(lambda z: net(z).detach(), x)
    with pytest.raises(ValueError, match="non-empty batch"):
        made(net, x[:0])
