import copy
import re

import pytest
import torch
from torch import Tensor, nn

from modelgif.fields.function_check import function_check


@pytest.fixture
def x() -> Tensor:
    return torch.rand(8, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def network(norm: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6) if norm is None else norm
    return nn.Sequential(nn.Conv2d(2, 6, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(216, 5))


class AlwaysDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.2, training=True)


class Remembers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x + self.seen


class Neighbours(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * x.roll(1, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_honest_networks_are_functions(dtype: torch.dtype, x: Tensor) -> None:
    found = function_check(nn.Sequential(network(), nn.Dropout(0.5)).train().to(dtype), x)
    assert found.sound, found
    assert found.reason == ""
    assert max(found.repeat_error, found.batch_error) < 1e-4


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_the_size_of_scores_does_not_matter(factor: float, x: Tensor) -> None:
    model = network()
    with torch.no_grad():
        model[4].weight *= factor
        model[4].bias *= factor
    assert function_check(model, x).sound
    assert not function_check(nn.Sequential(model, Neighbours()), x).sound


def test_a_constant_is_a_function(x: Tensor) -> None:
    assert function_check(lambda z: torch.ones(len(z), 3), x).sound
    assert function_check(lambda z: torch.zeros(len(z), 3), x).sound


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (nn.Sequential(network(), AlwaysDropout()), "asked twice .*dropout or other randomness"),
        (nn.Sequential(network(), Remembers()), "asked twice .*a memory of what it was shown"),
        (
            network(nn.BatchNorm2d(6, track_running_stats=False)),
            "in another batch .*: 1, a BatchNorm2d, takes the statistics of the batch. Give its",
        ),
        (nn.Sequential(network(), Neighbours()), "its answers depend on the rest of the batch"),
    ],
)
def test_what_is_no_function_is_named(model: nn.Module, reason: str, x: Tensor) -> None:
    torch.manual_seed(0)
    found = function_check(model, x)
    assert not found.sound
    assert "judge it again" in found.reason
    assert re.search(reason, found.reason), found.reason


def test_one_reference_shows_randomness_alone(x: Tensor) -> None:
    assert not function_check(nn.Sequential(network(), AlwaysDropout()), x[:1]).sound
    assert function_check(nn.Sequential(network(), Neighbours()), x, n_references=1).sound


def test_models_and_inputs_stay_unmodified(x: Tensor) -> None:
    model = network().train().half()
    before, images = copy.deepcopy(model.state_dict()), x.clone()
    function_check(model, x)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True)
    )
    assert torch.equal(images, x)


@pytest.mark.parametrize(
    ("references", "message"),
    [
        (torch.zeros(0, 2, 8, 8), r"a non-empty batch .* got \[0, 2, 8, 8\] and 6"),
        (torch.full((2, 2, 8, 8), torch.nan), "not finite .*leave the references out"),
    ],
)
def test_what_cannot_be_checked(references: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function_check(network(), references)
