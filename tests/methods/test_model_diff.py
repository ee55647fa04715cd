import numpy as np
import pytest
import scipy.spatial.distance
import torch
from torch import Tensor, nn

from modelgif.distances.distance import ZeroCellWarning
from modelgif.methods.model_diff import adversarial_twins, compare, describe

N = 30


def network(seed: int) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 4))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net


@pytest.fixture
def x() -> Tensor:
    return torch.rand(N, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def y() -> Tensor:
    return torch.rand(N, 10, generator=torch.Generator().manual_seed(1))


def test_equals_scipy_s_cosine_distances(x: Tensor, y: Tensor) -> None:
    vectors = []
    for seed in (0, 1):
        net = network(seed)
        with torch.no_grad():
            first, second = net(x).double().numpy(), net(y).double().numpy()
        plain = np.array(
            [scipy.spatial.distance.cosine(*pair) for pair in zip(first, second, strict=True)]
        )
        found = describe(net, x, twins=y)
        np.testing.assert_allclose(found, plain, rtol=1e-6, atol=1e-9)
        vectors.append(plain)
    found = compare(describe(network(0), x, twins=y), describe(network(1), x, twins=y))
    assert found == pytest.approx(scipy.spatial.distance.cosine(*vectors), rel=1e-6)
    assert 0.01 < found < 1


def test_the_scale_of_outputs_does_not_matter(x: Tensor, y: Tensor) -> None:
    net = network(0)
    a, b = describe(net, x, twins=y), describe(lambda z: 100 * net(z), x, twins=y)
    assert compare(a, b) == pytest.approx(0, abs=1e-9)


def test_a_model_that_no_twin_moves_has_no_direction(x: Tensor, y: Tensor) -> None:
    still, moved = describe(network(0), x, twins=x), describe(network(1), x, twins=y)
    assert (still == 0).all()
    with pytest.warns(ZeroCellWarning):
        assert compare(still, moved) == 1
    with pytest.warns(ZeroCellWarning):
        assert compare(still, still) == 0


def test_outputs_of_zero_are_at_1_from_others(x: Tensor, y: Tensor) -> None:
    def blind(z: Tensor) -> Tensor:
        return torch.where(z[:, :1] > 0.5, z, 0.0)

    with pytest.warns(ZeroCellWarning):
        found = describe(blind, x, twins=y)
    seen, seen_too = x[:, 0] > 0.5, y[:, 0] > 0.5
    assert (found[seen ^ seen_too] == 1).all()
    assert (found[~seen & ~seen_too] == 0).all()
    assert (found[seen & seen_too] > 0).all()


def test_adversarial_twins_are_near_and_mostly_of_another_class(x: Tensor) -> None:
    net = network(0)
    found = adversarial_twins(net, x, generator=torch.Generator().manual_seed(2), epsilon=0.3)
    assert (found - x).abs().max() <= 0.3 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    with torch.no_grad():
        changed = (net(found).argmax(1) != net(x).argmax(1)).float().mean()
    assert changed > 0.7
    again = adversarial_twins(net, x, generator=torch.Generator().manual_seed(2), epsilon=0.3)
    assert torch.equal(again, found)


def test_bad_pairs_are_refused(x: Tensor, y: Tensor) -> None:
    with pytest.raises(ValueError, match=r"references and twins.*\[30, 10\] and \[29, 10\]"):
        describe(network(0), x, twins=y[:-1])
    with pytest.raises(ValueError, match="at least 2 references"):
        describe(network(0), x[:1], twins=y[:1])
    y[4, 2] = torch.nan
    with pytest.raises(ValueError, match="output at reference 4 is not finite"):
        describe(network(0), x, twins=y)
