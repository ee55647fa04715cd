import copy

import pytest
import torch
from torch import Tensor, nn

from modelgif.distances.distance import distance
from modelgif.experiment.cifar_resnet import resnet8
from modelgif.fields.batchnorm_folding import fold_batchnorm
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.preprocessing import Preprocessed


def seeded(model: nn.Module) -> nn.Module:
    """The model with weights and statistics that are nothing special, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
            if "running_var" in name:
                tensor.abs_().add_(0.2)
    return model.eval()


def layers(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Convolution and normalisation, connected in some way."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3, track_running_stats=way != "statistics of the batch")

    def forward(self, x: Tensor) -> Tensor:
        before = self.conv(x)
        after = self.norm(before)
        if self.way == "output used elsewhere":
            after = after + before
        if self.way == "convolution twice":
            after = self.conv(after)
        if self.way == "normalisation twice":
            after = self.norm(after)
        if self.way == "weight read":
            after = after + self.conv.weight.sum()
        if self.way == "not first a convolution":
            after = self.norm(x)
        return after.flatten(1)


@pytest.mark.parametrize("preprocessed", [False, True])
def test_a_network_without_its_batch_norm_has_the_same_field(preprocessed: bool, x: Tensor) -> None:
    model = seeded(resnet8())
    n = layers(model)
    if preprocessed:
        # Its shape-dependent forward cannot be traced, the network inside it can.
        model = Preprocessed(model, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.2], size=16).eval()
    weights = copy.deepcopy(model.state_dict())
    folded, note = fold_batchnorm(model, x[:2])
    assert note == f"{n} BatchNorm folded into convolutions"
    assert n > 5
    assert (layers(folded), layers(model)) == (0, n)
    outputs = (m.double()(x.double()) for m in (folded, model))
    # The folded weights are rounded to float32.
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-6)
    model.float()
    folded.float()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[name])
    fields = [gradient_field(m, x, n_steps=6) for m in (model, folded)]
    assert float(distance(*fields)) < 1e-5
    assert fields[0].abs().max() > 1e-4


def test_a_plain_pair_is_folded(x: Tensor) -> None:
    model = seeded(Net("plain"))
    folded, note = fold_batchnorm(model, x)
    assert note == "1 BatchNorm folded into convolutions"
    torch.testing.assert_close(folded(x), model(x))


@pytest.mark.parametrize(
    "way",
    [
        *("output used elsewhere", "convolution twice", "normalisation twice", "weight read"),
        *("not first a convolution", "statistics of the batch"),
    ],
)
def test_what_is_not_provably_safe_is_left(way: str, x: Tensor) -> None:
    model = seeded(Net(way))
    folded, note = fold_batchnorm(model, x)
    assert folded is model
    assert note.startswith("no BatchNorm folded: none that provably")


class Reaching(nn.Module):
    """Its parts can be traced; the whole, which reaches into one of them, cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Net("plain")

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > -1e9:
            return self.part(x) + self.part.norm(x).flatten(1)
        return self.part(x)


class Weighing(Reaching):
    def forward(self, x: Tensor) -> Tensor:
        return self.part(x) * self.part.conv.weight.sum() if x.sum() > -1e9 else self.part(x)


@pytest.mark.parametrize(
    ("kind", "reason"), [(Reaching, "cannot be tried"), (Weighing, "the folded copy differs by")]
)
def test_the_trial_catches_what_the_graph_of_a_part_cannot_show(kind, reason, x: Tensor) -> None:
    model = seeded(kind())
    folded, note = fold_batchnorm(model, x)
    assert folded is model
    assert reason in note


def test_a_shared_part_is_left(x: Tensor) -> None:
    part = Net("plain")

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = part, part

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) + self.two(x * 2) if x.sum() > -1e9 else x

    model = seeded(Twice())
    assert fold_batchnorm(model, x)[0] is model
