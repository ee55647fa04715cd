import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelgif.fields.gradient_check import gradient_check
from modelgif.fields.gradient_field import gradient_field
from modelgif.fields.target import resolve_target


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(6, 2, 8, 8, generator=seeded(1))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(54, 5)).eval()


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(16, 8), nn.LayerNorm(8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x.flatten(2).transpose(1, 2).reshape(len(x), 8, 16))
        return self.head(self.layer(self.norm(tokens)).mean(1))


def with_activation(activation: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 6, 3), activation, nn.Flatten(), nn.Linear(216, 5)).eval()


class CastsInside(nn.Module):
    """Does part of its work in single precision whatever it is cast to."""

    def __init__(self) -> None:
        super().__init__()
        self.net = with_activation(nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.float().to(self.net[0].weight.dtype)).float()


class NoCopy(nn.Module):
    """Takes inputs of single precision alone, and cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.net = with_activation(nn.GELU())

    def __deepcopy__(self, memo: dict) -> nn.Module:
        raise RuntimeError("no copies")

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


HONEST: dict[str, Callable[[], nn.Module]] = {
    "relu, max-pool, batch norm": network,
    "attention": Attention,
    "gelu": lambda: with_activation(nn.GELU()),
    "elu": lambda: with_activation(nn.ELU()),
    "hardswish": lambda: with_activation(nn.Hardswish()),
    "group norm": lambda: with_activation(nn.GroupNorm(2, 6)),
    "dropout": lambda: with_activation(nn.Dropout(0.5)).train(),
    "softmax": lambda: nn.Sequential(network(), nn.Softmax(1)),
    "layer norm of a flat image": lambda: nn.Sequential(
        nn.Flatten(), nn.LayerNorm(128, eps=1e-12), nn.Linear(128, 5)
    ),
    "bfloat16": lambda: network().bfloat16(),
    "float16": lambda: network().half(),
    "float64": lambda: network().double(),
    "clamped input": lambda: nn.Sequential(nn.Hardtanh(0, 1), network()),
    "constant": lambda: nn.Sequential(network(), Scaled(0.0)),
    "casts inside": CastsInside,
    "no copies": NoCopy,
    "steep": lambda: nn.Sequential(network(), Scaled(1e4)),
    "flat": lambda: nn.Sequential(network(), Scaled(1e-9)),
}


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


@pytest.mark.slow
@pytest.mark.parametrize("target", ["predicted_class", "class_contrast"])
@pytest.mark.parametrize("baseline", [0.0, 0.5])
@pytest.mark.parametrize("name", HONEST)
def test_honest_networks_are_sound(name: str, baseline: float, target: str, x: Tensor) -> None:
    found = gradient_check(HONEST[name](), x, baseline=baseline, target=target)
    assert found.sound, found
    assert found.reason == ""
    assert not found.needs_float64
    assert found.slope_error <= 0.05
    assert found.dtype == ("float32" if name == "no copies" else "float64")


class Liar(nn.Module):
    """Two networks, of which one answers, by a rule that knows the input."""

    def __init__(self, rule: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.honest, self.other, self.rule = network(0), network(7), rule

    def forward(self, x: Tensor) -> Tensor:
        return self.rule(x, self.honest(x), self.other(x))


class Invented(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:  # type: ignore[override]
        (gradient,) = gradients
        return gradient.norm() * torch.randn(gradient.shape, generator=seeded()).to(gradient)


class Fresh(Invented):
    """Another random gradient each time."""

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:  # type: ignore[override]
        return gradients[0].norm() * torch.randn_like(gradients[0])


class Dropped(torch.autograd.Function):
    """A layer that drops its share of the gradient, as dynamic quantisation does."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.clone()

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:  # type: ignore[override]
        return torch.zeros_like(gradients[0])


def low(x: Tensor) -> Tensor:
    """Where contrast is low: in the first half of a path."""
    return (x.flatten(1).std(1) < 0.14)[:, None]


def behind(before: Callable[[Tensor], Tensor]) -> nn.Module:
    class Behind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(before(x))

    return Behind()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.plain = network(), nn.Linear(128, 5)

    def forward(self, x: Tensor) -> Tensor:
        return Dropped.apply(self.net(x)) + 0.3 * self.plain(x.flatten(1))


SLOPES, PATH = "along random directions", "do not add up to the change"
OUTPUTS = "answers depend on whether gradients are enabled"
LIARS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "invented": (lambda: behind(Invented.apply), SLOPES),
    "random": (lambda: behind(Fresh.apply), "differ"),
    "straight-through": (lambda: Liar(lambda x, y, z: y.detach() + z - z.detach()), SLOPES),
    "a share of another's": (lambda: Liar(lambda x, y, z: y + 0.5 * (z - z.detach())), SLOPES),
    "off where contrast is low": (
        lambda: Liar(lambda x, y, z: torch.where(low(x), y.detach(), y)),
        SLOPES,
    ),
    "off where gradients are required": (
        lambda: behind(lambda x: x.detach() + 0 * x if x.requires_grad else x),
        SLOPES,
    ),
    "detached": (lambda: behind(lambda x: x.detach()), "it gives no gradients: the model's output"),
    "another model while gradients are enabled": (
        lambda: Liar(lambda x, y, z: z if torch.is_grad_enabled() else y),
        OUTPUTS,
    ),
    "another model while the input requires gradients": (
        lambda: Liar(lambda x, y, z: z if x.requires_grad else y),
        OUTPUTS,
    ),
    "another model in single precision": (
        lambda: Liar(lambda x, y, z: z if x.dtype == torch.float32 else y),
        OUTPUTS,
    ),
    "a switch where contrast is low": (
        lambda: Liar(lambda x, y, z: torch.where(low(x), 2 * z, y)),
        PATH,
    ),
    "a layer that drops the gradient": (Residual, SLOPES),
    "input in grey levels": (lambda: behind(lambda x: (x * 15).round() / 15), "differ|add up"),
    "rounded scores": (lambda: Liar(lambda x, y, z: (10 * y).round() / 10), "differ|add up"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIARS)
def test_liars_are_found_out(name: str, x: Tensor) -> None:
    make, reason = LIARS[name]
    torch.manual_seed(3)
    found = gradient_check(make(), x, baseline=0.5, target="class_contrast")
    assert not found.sound, found
    assert any(part in found.reason for part in reason.split("|")), found
    assert found.reason.endswith("in code that you have read.")


def test_lies_in_single_precision_alone_are_no_harm_in_double(x: Tensor) -> None:
    model = Liar(lambda x, y, z: y if x.dtype == torch.float64 else y.detach() + z - z.detach())
    found = gradient_check(model, x, baseline=0.5, target="class_contrast")
    assert found.sound
    assert found.needs_float64
    options = {"baseline": 0.5, "target": "class_contrast", "n_steps": 4, "dtype": torch.float64}
    fields = [gradient_field(m, x, **options) for m in (model, model.honest)]
    torch.testing.assert_close(*fields)


def test_probabilities_that_underflow_need_double_precision(x: Tensor) -> None:
    model = nn.Sequential(network(), Scaled(2000.0), nn.Softmax(1))
    found = gradient_check(model, x, baseline=0.5, target="class_contrast")
    assert found.sound
    assert found.needs_float64
    assert not gradient_check(model, x, baseline=0.5).reason


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["straight-through", "a switch where contrast is low"])
def test_whatever_is_drawn(name: str, seed: int, x: Tensor) -> None:
    found = gradient_check(
        LIARS[name][0](), x, baseline=0.5, target="class_contrast", generator=seeded(seed)
    )
    assert not found.sound


def test_functions_are_checked_as_modules_are(x: Tensor) -> None:
    honest, other = network().double(), network(7).double()
    weight = torch.rand(128, 3, generator=seeded())
    assert gradient_check(honest, x).sound
    assert gradient_check(lambda z: (z.flatten(1) @ weight.to(z)).tanh(), x).dtype == "float64"
    # In single precision alone, steps are longer.
    single = gradient_check(lambda z: (z.flatten(1) @ weight).tanh(), x)
    assert single.sound
    assert single.dtype == "float32"

    def lie(z: Tensor) -> Tensor:
        ours, theirs = honest(z.double()), other(z.double())
        return ours.detach() + theirs - theirs.detach()

    assert not gradient_check(lie, x, baseline=0.5).sound


def test_models_and_inputs_stay_unmodified(x: Tensor) -> None:
    model = network().train().half()
    model[2].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    images, state = x.clone(), torch.get_rng_state()
    gradient_check(model, x, baseline=x.mean(0))
    assert model.training
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True)
    )
    assert torch.equal(images, x)
    assert torch.equal(state, torch.get_rng_state())
    assert not any(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("wrap", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_does_not_depend_on_the_callers_gradient_mode(wrap, x: Tensor) -> None:
    model = network()
    expected = gradient_check(model, x, baseline=0.5)
    with wrap():
        assert gradient_check(model, x, baseline=0.5) == expected


@pytest.mark.parametrize(
    "target",
    [
        torch.tensor([2, 0, 1, 1, 2, 4]),
        resolve_target(torch.tensor([2, 0, 1, 1, 2, 4])),
        "output_sum",
        lambda y: y[:, 0] - y[:, 1] ** 2,
    ],
)
def test_targets_of_every_kind(target, x: Tensor) -> None:
    assert gradient_check(network(), x, target=target).sound
    assert not gradient_check(LIARS["straight-through"][0](), x, target=target).sound


def test_a_reference_that_is_the_baseline_has_nothing_to_add_up(x: Tensor) -> None:
    found = gradient_check(network(), torch.full_like(x, 0.5), baseline=0.5)
    assert found.sound
    assert found.path_error == 0


@pytest.mark.parametrize(
    ("references", "options", "message"),
    [
        (torch.zeros(0, 2, 8, 8), {}, r"a non-empty batch .* got \[0, 2, 8, 8\]"),
        (torch.rand(2, 2, 8, 8), {"n_points": 0}, "3, 0 and 4"),
        (torch.full((2, 2, 8, 8), torch.nan), {}, "not finite .*leave the references out"),
    ],
)
def test_what_cannot_be_checked(references: Tensor, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_check(network(), references, **options)


def test_outputs_without_classes_are_refused(x: Tensor) -> None:
    with pytest.raises(ValueError, match="an embedding and not scores"):
        gradient_check(lambda z: F.normalize(z.flatten(1) - 0.5), x, target="class_contrast")
