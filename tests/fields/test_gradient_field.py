import copy
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from modelgif.fields.gradient_field import gradient_field
from modelgif.fields.quadrature import RULES, quadrature
from modelgif.fields.target import resolve_target
from modelgif.references.references import derangement

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((FOLDER / "field_golden.json").read_text())
WHOLE = [case for case in GOLDEN["cases"] if case["field_a"] is not None]
CAPTUM = json.loads((FOLDER / "captum_ig_cases.json").read_text())["cases"]
SETTINGS = ("method", "n_steps", "cumsum", "multiply_by_inputs", "baseline")
CHUNKS = [1, 3, 7, None]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class ConvNet(nn.Module):
    """In-place ReLU first, batch normalisation with statistics of its own, and dropout."""

    def __init__(self, dense: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh()
        )
        self.dropout = nn.Dropout(0.5)
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.pool = nn.Identity() if dense else pool
        self.head = nn.Conv2d(4, 3, 1) if dense else nn.Linear(4, 3)
        for tensor in self.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.randn(tensor.shape, generator=seeded(tensor.numel())).abs() * 0.7
                )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.dropout(self.features(x))) - 0.5)


@pytest.fixture
def model() -> nn.Module:
    return ConvNet().double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 2, 6, 4, generator=seeded(), dtype=torch.float64)


def loop(model: nn.Module, x: Tensor, start: Tensor, target, rule, n_steps: int) -> Tensor:
    """The weighted gradients one by one: the definition of the field, without its factor."""
    nodes, weights, _ = quadrature(rule, n_steps)
    objective = resolve_target(target)
    positions_at = objective.positions
    field = torch.empty(len(x), n_steps, *x.shape[1:], dtype=x.dtype)
    model.eval()
    for n in range(len(x)):
        for k in range(n_steps):
            point = (start[n] + nodes[k] * (x[n] - start[n]))[None].requires_grad_()
            output = model(point.clone())
            if positions_at is not None:
                chosen = positions_at(model(x[n : n + 1].clone()), slice(n, n + 1))
                value = output.flatten()[chosen.flatten()].sum()
            else:
                assert objective.value is not None
                value = objective.value(output).sum()
            field[n, k] = weights[k] * torch.autograd.grad(value, point)[0][0]
    return field


def _margin(output: Tensor) -> Tensor:
    return (output[:, 0] - output[:, 1] ** 2).reshape(len(output), -1).sum(1)


def name_of(value: object) -> str:
    if isinstance(value, bool):
        return "dense" if value else "flat"
    return "labels" if isinstance(value, Tensor) else getattr(value, "__name__", str(value))


NAMED = ["output_sum", "channel_peaks", "position_max", "global_peak", _margin]
FLAT_TARGETS = [*NAMED, "predicted_class", torch.tensor([2, 0, 1, 1, 2])]
DENSE_TARGETS = [*NAMED, "channel_peaks:3", torch.randint(3, (5, 6, 4), generator=seeded())]


# The definition, golden files and captum.


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [3, None])
@pytest.mark.parametrize(
    ("dense", "target"),
    [(False, target) for target in FLAT_TARGETS] + [(True, target) for target in DENSE_TARGETS],
    ids=name_of,
)
def test_every_target_equals_a_plain_loop(dense: bool, target, chunk_size, x: Tensor) -> None:
    model = ConvNet(dense).double()
    start = torch.randn(x.shape, generator=seeded(1), dtype=x.dtype)
    expected = loop(model, x, start, target, "gausslegendre", 4)
    assert expected.abs().max() > 1e-3
    field = gradient_field(
        model, x, target=target, baseline=start, n_steps=4, cumulative=False, chunk_size=chunk_size
    )
    torch.testing.assert_close(field, expected * (x - start)[:, None])


@pytest.mark.parametrize("chunk_size", CHUNKS)
@pytest.mark.parametrize(
    "case", WHOLE, ids=lambda case: "-".join(str(case[key]) for key in SETTINGS)
)
def test_golden_fields(case: dict, chunk_size: int | None) -> None:
    w1, b1, w2, b2 = map(double, GOLDEN["A"])
    field = gradient_field(
        lambda z: (z @ w1.T + b1).tanh() @ w2.T + b2,
        double(GOLDEN["x"]),
        baseline=0.0 if case["baseline"] == "zero" else double(GOLDEN["baseline"]),
        n_steps=case["n_steps"],
        rule=case["method"],
        cumulative=case["cumsum"],
        scale_by_path=case["multiply_by_inputs"],
        chunk_size=chunk_size,
    )
    torch.testing.assert_close(field, double(case["field_a"]), rtol=1e-12, atol=1e-12)


def test_there_are_17_golden_fields_of_every_rule() -> None:
    assert len(WHOLE) == 17
    assert {case["method"] for case in WHOLE} == {*RULES} - {"gaussradau"}


def _toy(x: Tensor) -> Tensor:
    hidden = (x[:, 0] @ torch.arange(-4.0, 5).double().view(3, 3).T).relu()
    return hidden @ torch.arange(-3.0, 3).double().view(2, 3).T + 1


def _hidden(s: Tensor) -> Tensor:
    """The pre-activations of BasicModel_MultiLayer, whose input is summed to `s` ``[B]``."""
    return torch.stack([s - 10, s + 1, s + 1, s + 1], 1)


def _outputs(s: Tensor) -> Tensor:
    total = _hidden(s).relu().sum(1)
    return torch.stack([total - 1, total + 1], 1)


def _halved(x: Tensor) -> Tensor:
    return 0.5 * x.sum((1, 2))


# What each case of captum's attributes; the inputs of a case are stacked to [B, inputs, D].
MODELS: dict[str, Callable[[Tensor], Tensor]] = {
    "readme_toy": _toy,
    "multivariable_model3": lambda x: ((x[:, 0] - 1).relu() - x[:, 1].relu()).relu(),
    "multivariable_model3_no_mult": lambda x: ((x[:, 0] - 1).relu() - x[:, 1].relu()).relu(),
    "univariable_0": lambda x: 1 - (1 - x[:, 0]).relu(),
    "neuron_linear2": lambda x: _outputs(x.sum((1, 2))),
    "neuron_linear1": lambda x: _hidden(x.sum((1, 2))),
    "neuron_relu1": lambda x: _hidden(x.sum((1, 2))).relu(),
    "neuron_relu_agg": lambda x: _hidden(x.sum((1, 2)))[:, :2].relu(),
    "multi_input_relu": lambda x: _hidden(_halved(x)).relu(),
    "multi_input_relu_batch_selector": lambda x: _hidden(_halved(x)).relu(),
    "batched_multi_riemann_right": lambda x: _outputs(x.sum((1, 2))),
    "multi_args4_gausslegendre": lambda x: (
        (x[:, 0] - 1).relu() - x[:, 1].relu() / double([1, 2, 3])
    ).relu()[:, :1],
}


def test_every_captum_case_has_its_model() -> None:
    assert [case["id"] for case in CAPTUM] == list(MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [*CHUNKS, "captum's"])
@pytest.mark.parametrize("case", CAPTUM, ids=lambda case: case["id"])
def test_captum_cases(case: dict, chunk_size) -> None:
    model = MODELS[case["id"]]
    inputs, start = double(case["inputs"]), double(case["baselines"])
    n_inputs, batch = inputs.shape[:2]
    if case["id"].startswith("multi_input_relu"):
        # The third summand is an argument that is not attributed: a path that stands still.
        third = double(case["additional_forward_args"][0])[None]
        assert case["additional_forward_args"][1] == 0.5
        inputs, start = torch.cat([inputs, third]), torch.cat([start, third])
    inputs, start = (t.reshape(*t.shape[:2], -1).transpose(0, 1) for t in (inputs, start))
    target = "output_sum" if case["target"] is None else torch.full((batch,), case["target"])
    chunks = case.get("internal_batch_sizes", [2]) if chunk_size == "captum's" else [chunk_size]
    for chunk in chunks:
        field = gradient_field(
            model,
            inputs,
            target=target,
            baseline=start,
            n_steps=case["n_steps"],
            rule=case["method"],
            scale_by_path=case["multiply_by_inputs"],
            chunk_size=chunk,
        )
        last = field[:, -1]
        attribution = last[:, :n_inputs].transpose(0, 1)
        ours = double(case["captum_0_9_0_float32_output"])
        torch.testing.assert_close(attribution.reshape(ours.shape), ours, rtol=1e-5, atol=1e-6)
        if case["expected"] is not None:
            expected = double(case["expected"])
            atol = case["tolerance_abs"]
            torch.testing.assert_close(attribution.reshape(ours.shape), expected, rtol=0, atol=atol)
        if case["convergence_delta_abs_max"] is not None:
            outputs = [model(t).reshape(batch, -1) for t in (inputs, start)]
            change = (outputs[0] - outputs[1])[:, case["target"] or 0]
            missed = (last.sum((1, 2)) - change).abs().max()
            assert missed <= case["convergence_delta_abs_max"]


@pytest.mark.parametrize("scale_by_path", [True, False])
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "gaussradau"])
def test_the_last_step_is_captums_integrated_gradient(rule, scale_by_path: bool, x, model) -> None:
    model.eval()
    start = torch.randn(x.shape, generator=seeded(1), dtype=x.dtype)
    labels = torch.tensor([2, 0, 1, 1, 2])
    # The clone, because captum hands the model a leaf, and the model begins in place.
    captum = IntegratedGradients(lambda z: model(z.clone()), multiply_by_inputs=scale_by_path)
    expected = captum.attribute(x, start, target=labels, n_steps=9, method=rule)
    field = gradient_field(
        model, x, target=labels, baseline=start, n_steps=9, rule=rule, scale_by_path=scale_by_path
    )
    # captum rounds its weights to float32.
    torch.testing.assert_close(field[:, -1], expected, rtol=1e-6, atol=1e-7)


# Closed forms.


@pytest.mark.parametrize("scale_by_path", [True, False])
@pytest.mark.parametrize("cumulative", [True, False])
@pytest.mark.parametrize("rule", RULES)
def test_a_linear_model_has_a_closed_form(rule, cumulative: bool, scale_by_path: bool) -> None:
    linear = nn.Linear(4, 3).double()
    x = torch.randn(6, 4, generator=seeded(), dtype=torch.float64)
    field = gradient_field(
        linear,
        x,
        baseline=0.3,
        n_steps=7,
        rule=rule,
        cumulative=cumulative,
        scale_by_path=scale_by_path,
    )
    nodes, weights, _ = quadrature(rule, 7)
    share = weights if not cumulative else nodes if rule == "gaussradau" else weights.cumsum(0)
    gradient = linear.weight.detach()[linear(x).argmax(1)] * (x - 0.3 if scale_by_path else 1)
    torch.testing.assert_close(field, share[:, None] * gradient[:, None])


@pytest.mark.parametrize("rule", ["gausslegendre", "gaussradau"])
def test_completeness(rule, x: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.Tanh(), nn.Linear(9, 3)).double()
    field = gradient_field(model, x, target="output_sum", baseline=0.1, rule=rule)
    change = (model(x) - model(torch.full_like(x, 0.1))).sum(1)
    torch.testing.assert_close(field[:, -1].flatten(1).sum(1), change.detach(), atol=1e-10, rtol=0)


def test_every_step_of_gaussradau_is_complete_up_to_its_node(x: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.Tanh(), nn.Linear(9, 3)).double()
    field = gradient_field(model, x, target="output_sum", rule="gaussradau", n_steps=30)
    for k, node in enumerate(quadrature("gaussradau", 30).nodes):
        change = (model(node * x) - model(0 * x)).sum(1).detach()
        torch.testing.assert_close(field[:, k].flatten(1).sum(1), change, atol=1e-8, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_variants_are_consistent(rule, model: nn.Module, x: Tensor) -> None:
    def field(**options) -> Tensor:
        return gradient_field(model, x, baseline=0.2, n_steps=6, rule=rule, **options)

    whole, steps, bare = field(), field(cumulative=False), field(scale_by_path=False)
    torch.testing.assert_close(whole, bare * (x - 0.2)[:, None])
    torch.testing.assert_close(whole[:, -1], steps.sum(1))
    if rule != "gaussradau":
        torch.testing.assert_close(whole, steps.cumsum(1))


def test_the_target_is_frozen_at_the_reference() -> None:
    # Along the path the larger of the two outputs changes at 1/2; the gradient must not.
    field = gradient_field(lambda x: torch.cat([x**2, x - 0.25], 1), torch.ones(1, 1), n_steps=8)
    nodes = quadrature("gausslegendre", 8).nodes.float()
    torch.testing.assert_close(
        field[0, :, 0].diff(), (2 * nodes * quadrature("gausslegendre", 8).weights.float())[1:]
    )


# Baselines, chunks, devices and precisions.


@pytest.mark.parametrize("kind", ["number", "input", "one", "channels", "each", "derangement"])
def test_baselines(kind: str, model: nn.Module, x: Tensor) -> None:
    means = double([0.2, -0.4]).reshape(1, 2, 1, 1)
    baseline = {
        "number": 0.7,
        "input": x[1],
        "one": x[1:2],
        "channels": means,
        "each": x.flip(0),
        "derangement": x[derangement(5, generator=seeded())],
    }[kind]
    start = torch.as_tensor(baseline, dtype=x.dtype).expand(x.shape)
    expected = loop(model, x, start, "predicted_class", "riemann_middle", 3) * (x - start)[:, None]
    field = gradient_field(
        model, x, baseline=baseline, n_steps=3, rule="riemann_middle", cumulative=False
    )
    torch.testing.assert_close(field, expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", ["gausslegendre", "gaussradau"])
@pytest.mark.parametrize("target", ["predicted_class", torch.tensor([2, 0, 1, 1, 2]), _margin])
def test_the_chunk_size_changes_rounding_only(dtype, rule, target, model, x: Tensor) -> None:
    fields = [
        gradient_field(
            model, x, target=target, n_steps=11, rule=rule, chunk_size=chunk_size, dtype=dtype
        )
        for chunk_size in (*CHUNKS, 11, 55, 1000)
    ]
    for field in fields[1:]:
        torch.testing.assert_close(field, fields[0])


@pytest.mark.slow
@pytest.mark.parametrize("target", ["predicted_class", "output_sum"])
@pytest.mark.parametrize(("chunk_size", "largest"), [(1, 1), (7, 7), (500, 500), (None, 512)])
def test_no_batch_is_larger_than_a_chunk(target: str, chunk_size: int | None, largest: int) -> None:
    seen: list[int] = []

    def linear(batch: Tensor) -> Tensor:
        seen.append(len(batch))
        return batch @ torch.ones(3, 2)

    gradient_field(linear, torch.rand(30, 3), target=target, chunk_size=chunk_size)
    assert max(seen) == largest
    assert sum(seen) == 30 * 50 + (30 if target == "predicted_class" else 0)


def test_the_default_chunk_is_smaller_for_large_inputs() -> None:
    seen: list[int] = []

    def total(batch: Tensor) -> Tensor:
        seen.append(len(batch))
        return batch.flatten(1).sum(1, keepdim=True)

    gradient_field(total, torch.zeros(1, 2**20), n_steps=12)
    assert max(seen) == 4


def test_device_and_dtype_come_from_the_model_unless_given(x: Tensor) -> None:
    model = ConvNet()
    assert gradient_field(model, x, n_steps=2).dtype == torch.float32
    field = gradient_field(model, x.float(), n_steps=2, dtype=torch.float64, device="cpu")
    assert field.dtype == torch.float64
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    expected = gradient_field(ConvNet().double(), x.float().double(), n_steps=2)
    torch.testing.assert_close(field, expected)
    assert gradient_field(lambda z: z.flatten(1), x.float(), n_steps=2).dtype == torch.float32


def test_float32_agrees_with_float64(model: nn.Module, x: Tensor) -> None:
    exact = gradient_field(model, x)
    torch.testing.assert_close(
        gradient_field(model, x, dtype=torch.float32).double(), exact, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("target", ["predicted_class", "output_sum", torch.tensor([2, 0, 1, 1, 2])])
def test_works_whatever_the_callers_gradient_mode(mode, dtype, target, model, x: Tensor) -> None:
    expected = gradient_field(model, x, target=target, baseline=0.1 * x, n_steps=3, dtype=dtype)
    with mode():
        inner = x.clone()
        field = gradient_field(
            model, inner, target=target, baseline=0.1 * x, n_steps=3, dtype=dtype
        )
    assert torch.equal(field, expected)
    assert not field.requires_grad
    field.mul_(2)  # an ordinary tensor


# What is left as it was.


def state(model: nn.Module) -> dict[str, object]:
    return {
        "training": {name: module.training for name, module in model.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "grad": {name: p.grad for name, p in model.named_parameters()},
        "hooks": {
            name: (list(module._forward_hooks), list(module._backward_hooks))
            for name, module in model.named_modules()
        },
        "identity": {name: (id(p), p.dtype) for name, p in model.named_parameters()},
        "tensors": {name: t.detach().numpy().tobytes() for name, t in model.state_dict().items()},
    }


@pytest.fixture
def mixed(model: nn.Module) -> nn.Module:
    """Training and evaluation mode, frozen and free weights, gradients and hooks."""
    model.train()
    assert isinstance(model, ConvNet)
    model.features[2].eval()
    model.pool.eval()
    model.get_parameter("features.1.weight").requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    model.head.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_models_and_inputs_stay_unmodified(dtype: torch.dtype, mixed: nn.Module, x: Tensor) -> None:
    baseline = torch.full_like(x, 0.1)
    tensors = [x, baseline]
    copies = [t.clone() for t in tensors]
    before = state(mixed)
    gradient_field(mixed, x, baseline=baseline, n_steps=3, dtype=dtype)
    assert state(mixed) == before
    assert all(torch.equal(t, c) for t, c in zip(tensors, copies, strict=True))
    assert not any(t.requires_grad or t.grad is not None for t in tensors)


def test_models_are_put_back_after_a_failure(mixed: nn.Module, x: Tensor) -> None:
    before = state(mixed)
    with pytest.raises(ValueError, match="labels must lie"):
        gradient_field(mixed, x, target=torch.full((5,), 9))
    assert state(mixed) == before


def test_references_that_track_gradients_are_read_only(model: nn.Module, x: Tensor) -> None:
    tracked = x.clone().requires_grad_()
    assert torch.equal(
        gradient_field(model, tracked, n_steps=2), gradient_field(model, x, n_steps=2)
    )
    assert tracked.grad is None


def test_dropout_and_batch_normalisation_run_in_evaluation_mode(
    model: nn.Module, x: Tensor
) -> None:
    training = gradient_field(model.train(), x, n_steps=3)
    assert torch.equal(training, gradient_field(model.eval(), x, n_steps=3))
    # Each sample alone, which batch statistics would not allow.
    alone = torch.cat([gradient_field(model.train(), x[i : i + 1], n_steps=3) for i in range(5)])
    torch.testing.assert_close(training, alone)


# Outputs.


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None
    hidden: Tensor | None = None


@dataclass
class Named:
    answer: Tensor
    loss: float = 0.0


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: (y,),
        lambda y: [y],
        lambda y: (y, None),
        lambda y: {"logits": y, "hidden": 2 * y},
        lambda y: {"answer": y},
        lambda y: Output(y, hidden=2 * y),
        lambda y: Named(y),
    ],
)
def test_wrapped_outputs(wrap: Callable[[Tensor], object], model: nn.Module, x: Tensor) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, z: Tensor) -> object:
            return wrap(self.model(z))

    expected = gradient_field(model, x, n_steps=2)
    assert torch.equal(gradient_field(Wrapped(), x, n_steps=2), expected)


def test_an_output_that_ignores_the_input_in_part_has_a_zero_field() -> None:
    weight = torch.ones(2, 3)
    field = gradient_field(
        lambda x: torch.cat([x @ weight.T, torch.ones(len(x), 1)], 1),
        torch.rand(4, 3),
        target=torch.tensor([0, 2, 2, 0]),
        n_steps=2,
    )
    assert field[1:3].count_nonzero() == 0
    assert field[0].count_nonzero() == 6


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (lambda y: (y, 2 * y), TypeError, r"a tuple with 2 tensors \(0, 1\) and none .* 'logits'"),
        (lambda y: {"a": y, "b": y}, TypeError, r"a dict with 2 tensors \(a, b\)"),
        (lambda y: {}, TypeError, r"a dict with 0 tensors \(none\)"),
        (lambda y: "cat", TypeError, "must return a tensor of scores, got str"),
        (lambda y: Output, TypeError, "got type"),
        (lambda y: y.detach(), TypeError, "does not depend differentiably .* not detached"),
        (lambda y: y.argmax(1, keepdim=True), TypeError, "not an argmax"),
        (lambda y: y.sum(1), ValueError, r"one row of scores per sample, \[5, ...\], got \[5\]"),
        (lambda y: y[:2], ValueError, r"\[5, ...\], got \[2, 3\]"),
        (lambda y: y.sum(), ValueError, r"got \[\]"),
    ],
)
def test_refused_outputs(output, error: type[Exception], message: str, model, x: Tensor) -> None:
    with pytest.raises(error, match=message):
        gradient_field(lambda z: output(model(z)), x)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        ({"rule": "simpson"}, ValueError, "rule must be one of .* got 'simpson'"),
        ({"target": "predicted_clas"}, ValueError, "Did you mean 'predicted_class'"),
        ({"target": 3}, TypeError, "target must be a name, .* got int"),
        ({"target": torch.tensor([0, 1, 3, 0, 0])}, ValueError, r"labels must lie in 0\.\.2"),
        ({"target": torch.tensor([0, 1, 2])}, ValueError, "3 labels do not fit 5 references"),
        ({"target": torch.zeros(9).long()}, ValueError, "9 labels do not fit 5 references"),
        ({"target": torch.zeros(9).long(), "chunk_size": 2}, ValueError, "do not fit"),
        ({"target": torch.zeros(5, 1).long()}, ValueError, "labels of shape .5, 1. do not fit"),
        ({"target": lambda y: y}, ValueError, r"<lambda> must give one number .* got \[5, 3\]"),
        ({"target": lambda y: y.sum()}, ValueError, r"one number per sample, \[5\], got \[\]"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be at least 1, got 0"),
        ({"baseline": torch.zeros(3, 6, 4)}, ValueError, r"shape \[3, 6, 4\] fits neither one"),
        ({"baseline": torch.zeros(3, 2, 6, 4)}, ValueError, "nor all of them"),
        ({"dtype": torch.int64}, TypeError, "must be floating-point, got dtype torch.int64"),
    ],
)
def test_refused_options(options: dict[str, Any], error, message: str, model, x: Tensor) -> None:
    options = {"n_steps": 1} | options
    with pytest.raises(error, match=message):
        gradient_field(model, x, **options)


@pytest.mark.parametrize(
    ("references", "error", "message"),
    [
        (torch.zeros(0, 2), ValueError, r"a non-empty batch \[N, \*input_shape\], got \[0, 2\]"),
        (torch.zeros(3), ValueError, r"got \[3\]"),
        (torch.zeros(3, 2).long(), TypeError, "must be floating-point, got dtype torch.int64"),
    ],
)
def test_refused_references(references: Tensor, error, message: str) -> None:
    with pytest.raises(error, match=message):
        gradient_field(lambda z: z, references)


@pytest.mark.cuda
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
@pytest.mark.parametrize("target", FLAT_TARGETS, ids=name_of)
def test_cuda_equals_the_cpu(dtype: torch.dtype, atol: float, target, model, x: Tensor) -> None:
    on_cpu = gradient_field(model, x, target=target, dtype=dtype)
    on_cuda = gradient_field(model, x, target=target, dtype=dtype, device="cuda", chunk_size=7)
    assert on_cuda.is_cuda
    assert next(model.parameters()).device.type == "cpu"
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=0, atol=atol)
    torch.testing.assert_close(gradient_field(model.cuda(), x, target=target, dtype=dtype), on_cuda)


class Viewing(nn.Module):
    """Flattens by `view`, which takes the usual layout of an image only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(64, 3)
        self.layouts: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        together = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        self.layouts.append(together)
        return self.head(self.conv(x).relu().view(len(x), -1))


@pytest.mark.parametrize("target", ["predicted_class", "output_sum"])
def test_a_model_that_cannot_have_the_channels_together_gets_them_apart(target: str) -> None:
    model, x = Viewing(), torch.rand(3, 3, 6, 6, generator=seeded())
    expected = gradient_field(copy.deepcopy(model).double(), x.double(), target=target, n_steps=20)
    field = gradient_field(model, x, target=target, n_steps=20, chunk_size=7)
    torch.testing.assert_close(field.double(), expected, rtol=1e-4, atol=1e-6)
    assert model.layouts.count(True) == 1


def test_weights_lent_in_another_layout_are_given_back() -> None:
    model = Viewing()
    own = {name: (p, p.data_ptr(), p.stride()) for name, p in model.named_parameters()}
    seen: list[bool] = []

    def fails(output: Tensor) -> Tensor:
        seen.append(model.conv.weight.is_contiguous())
        raise KeyError("on purpose")

    x = torch.rand(2, 3, 6, 6)
    model.forward = lambda x: model.conv(x).mean((2, 3))  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        gradient_field(model, x, target=fails, n_steps=2)
    gradient_field(model, x, n_steps=2)
    assert seen == [False]
    for name, parameter in model.named_parameters():
        assert (parameter, parameter.data_ptr(), parameter.stride()) == own[name]


def test_other_models_get_them_together_on_the_cpu() -> None:
    layouts: list[bool] = []

    def mean(x: Tensor) -> Tensor:
        layouts.append(x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())
        return x.mean((2, 3))

    gradient_field(mean, torch.rand(2, 3, 6, 6), target="output_sum", n_steps=4)
    gradient_field(mean, torch.rand(2, 3, 6, 6).double(), target="output_sum", n_steps=4)
    gradient_field(mean, torch.rand(2, 1, 6, 6), target="output_sum", n_steps=4)
    assert layouts == [True, False, False]
