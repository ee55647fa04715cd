import copy

import pytest
import torch
from torch import Tensor, nn

from modelgif.references.adversarial import pgd


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(40, 3, 4, 5, generator=seeded(), dtype=torch.float64)


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(2, (40,), generator=seeded(1))


@pytest.fixture
def linear() -> nn.Module:
    """Two classes, whose logits are linear in the image."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).double()


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(3, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout(),
            nn.Flatten(),
            nn.Linear(36, 4),
        )


def attack(model, images: Tensor, labels: Tensor, **changes) -> Tensor:
    options = {"epsilon": 0.1, "step_size": 0.03, "n_steps": 8, "generator": seeded(4)} | changes
    return pgd(model, images, labels, **options)


def test_a_linear_model_is_attacked_in_closed_form(
    linear: nn.Module, images: Tensor, labels: Tensor
) -> None:
    # The loss rises with the other class's logit less the label's, whose gradient is constant.
    weight = linear[1].weight.detach()
    uphill = (weight[1 - labels] - weight[labels]).sign().reshape(images.shape)
    expected = (images + 0.1 * uphill).clamp(0, 1)
    torch.testing.assert_close(attack(linear, images, labels), expected)
    # One long step ends in the same corner, from wherever it starts.
    one_step = attack(linear, images, labels, step_size=0.2, n_steps=1)
    torch.testing.assert_close(one_step, expected)


def test_one_short_step_goes_from_a_uniform_start(
    linear: nn.Module, images: Tensor, labels: Tensor
) -> None:
    images = 0.3 + 0.4 * images  # away from the border of the pixels
    weight = linear[1].weight.detach()
    uphill = (weight[1 - labels] - weight[labels]).sign().reshape(images.shape)
    moved = attack(linear, images, labels, step_size=0.02, n_steps=1) - images
    start = (moved - 0.02 * uphill)[moved.abs() < 0.1 - 1e-9]
    # Those that were not cut off began somewhere in the cube, uniformly.
    assert start.min() >= -0.1 - 1e-9
    assert start.max() <= 0.1 + 1e-9
    assert start.unique().numel() == start.numel() > 1500
    sorted_start = start.sort().values
    uniform = torch.linspace(-0.1, 0.1, len(start), dtype=torch.float64)
    assert (sorted_start - uniform).abs().max() < 0.02


def test_moved_images_stay_in_the_cube_and_in_range(network: nn.Module) -> None:
    images = torch.rand(64, 3, 4, 5, generator=seeded()).round(decimals=1)
    labels = torch.randint(4, (64,), generator=seeded(1))
    moved = attack(network, images, labels)
    assert moved.dtype == images.dtype
    assert not moved.requires_grad
    assert (moved - images).abs().max() <= 0.1 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_no_random_corner_of_the_cube_is_worse(network: nn.Module) -> None:
    images = torch.rand(64, 3, 4, 5, generator=seeded())
    labels = torch.randint(4, (64,), generator=seeded(1))
    network.eval()

    def loss(at: Tensor) -> Tensor:
        with torch.no_grad():
            return nn.functional.cross_entropy(network(at.clone()), labels, reduction="none")

    generator = seeded(5)
    corners = [
        (images + 0.1 * torch.randn(images.shape, generator=generator).sign()).clamp(0, 1)
        for _ in range(50)
    ]
    worst = torch.stack([loss(corner) for corner in corners]).max(0).values
    assert (loss(attack(network, images, labels)) > worst).all()


def test_the_model_is_left_as_it_was(network: nn.Module) -> None:
    network.train()
    network[2].eval()
    network[1].weight.requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    images = torch.rand(9, 3, 4, 5, generator=seeded())
    kept = images.clone()
    attack(network, images, torch.zeros(9, dtype=torch.long))
    assert torch.equal(images, kept)
    assert network.training
    assert not network[2].training
    flags = {name: p.requires_grad for name, p in network.named_parameters()}
    assert [name for name, needs in flags.items() if not needs] == ["1.weight"]
    assert all(p.grad is None for p in network.parameters())
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_seed_decides_and_chunks_do_not(network: nn.Module) -> None:
    images = torch.rand(10, 3, 4, 5, generator=seeded()).double()
    labels = torch.randint(4, (10,), generator=seeded(1))
    network.double()
    first = attack(network, images, labels, n_steps=2)
    torch.testing.assert_close(attack(network, images, labels, n_steps=2, chunk_size=3), first)
    assert torch.equal(attack(network, images, labels, n_steps=2), first)
    other = attack(network, images, labels, n_steps=2, generator=seeded(5))
    assert not torch.equal(other, first)


def test_it_works_inside_no_grad_and_inference_mode(network: nn.Module) -> None:
    labels = torch.randint(4, (10,), generator=seeded(1))
    expected = attack(network, torch.rand(10, 3, 4, 5, generator=seeded()), labels)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            images = torch.rand(10, 3, 4, 5, generator=seeded())
            assert torch.equal(attack(network, images, labels.clone()), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 0.0}, r"epsilon in \(0, 1\].* got epsilon 0.0"),
        ({"epsilon": 25.5}, "got epsilon 25.5"),
        ({"step_size": 0.0}, "step_size 0.0"),
        ({"n_steps": 0}, "at least one step"),
        ({"chunk_size": 0}, "one image per chunk"),
    ],
)
def test_refused_numbers(linear: nn.Module, images, labels, changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(linear, images, labels, **changes)


def test_refused_images_and_labels(linear: nn.Module, images: Tensor, labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\], got values in \[0.001.*, 1.499\]"):
        attack(linear, images * 1.5 + 0.001, labels)
    with pytest.raises(ValueError, match=r"one whole-numbered label each, got .* labels \[39\]"):
        attack(linear, images, labels[1:])
    with pytest.raises(ValueError, match="of torch.float64"):
        attack(linear, images, labels.double())
    with pytest.raises(ValueError, match="got values in"):
        attack(linear, torch.full_like(images, float("nan")), labels)
    with pytest.raises(TypeError, match="does not depend differentiably on its input"):
        attack(lambda x: linear(x).detach(), images, labels)


@pytest.mark.cuda
def test_on_cuda_it_is_the_same(linear: nn.Module, images: Tensor, labels: Tensor) -> None:
    expected = attack(linear, images, labels)
    moved = attack(linear.cuda(), images.cuda(), labels)
    assert moved.is_cuda
    torch.testing.assert_close(moved.cpu(), expected)
