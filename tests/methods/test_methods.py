"""What all rival methods have in common, and known answers of the simple ones."""

import copy
import importlib
import math
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import torch
from torch import Tensor, nn

from modelgif import methods
from modelgif.distances.distance import ZeroCellWarning
from modelgif.fields.features import penultimate_features
from modelgif.methods import METHODS as REGISTERED
from modelgif.methods import (
    Method,
    attribution,
    cka,
    dds,
    depara,
    ipguard,
    label_agreement,
    model_diff,
    output_divergence,
    rsa,
    zest,
)

N, SIDE, CLASSES = 24, 6, 5


def network(seed: int, n_classes: int = CLASSES, *, gain: float = 2.0) -> nn.Sequential:
    """A small network with a drop-out, which only evaluation mode makes deterministic."""
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE**2, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, n_classes)
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            fan = parameter.shape[-1] if parameter.ndim == 2 else 4
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(gain * drawn / math.sqrt(fan))
    return net


def last_layer(net: nn.Sequential) -> nn.Linear:
    layer = net[-1]
    assert isinstance(layer, nn.Linear)
    return layer


def perturbed(net: nn.Sequential, size: float = 0.03) -> nn.Sequential:
    moved = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for parameter in moved.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += size * parameter.std(correction=0) * noise
    return moved


def permuted(net: nn.Sequential) -> nn.Sequential:
    moved = copy.deepcopy(net)
    order = torch.tensor([3, 0, 4, 1, 2])
    layer = last_layer(moved)
    with torch.no_grad():
        layer.weight.copy_(layer.weight[order])
        layer.bias.copy_(layer.bias[order])
    return moved


def constant(net: nn.Sequential) -> nn.Sequential:
    """Gives the same scores whatever it sees."""
    moved = copy.deepcopy(net)
    with torch.no_grad():
        last_layer(moved).weight.zero_()
    return moved


def references(count: int = N, seed: int = 7) -> Tensor:
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def twins(x: Tensor) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(8))
    return (x + 0.1 * noise).clamp(0, 1)


def paired(model: nn.Module, x: Tensor, **options: Any) -> Tensor:
    return model_diff.describe(model, x, twins=twins(x), **options)


Describe = Callable[..., Any]
Compare = Callable[[Any, Any], float]


def plain(method: Method) -> Method:
    """A registered method at given references, on scores where it would take features."""
    if method.prepare is not None:
        return replace(method, prepare=None, options={})
    options = {name: value for name, value in method.options.items() if name != "features"}
    return replace(method, describe=partial(method.describe, **options))


def variant(name: str, *, describe: Mapping[str, Any] | None = None, **changes: Any) -> Method:
    """A registered method with other arguments of `describe`, or other properties."""
    method = plain(REGISTERED[name])
    if describe:
        changes["describe"] = partial(method.describe, **describe)
    return replace(method, **changes)


# All registered methods, and variants that no testbed names.
TESTED: dict[str, Method] = {name: plain(method) for name, method in REGISTERED.items()} | {
    "ipguard": variant("ipguard", per_reference=ipguard.per_reference),
    "model_diff": replace(REGISTERED["model_diff"], describe=paired, prepare=None),
    "sac_gaussian": variant("sac", describe={"correlation": "gaussian"}),
    "sac_probabilities": variant("sac", describe={"answer": "probabilities"}),
    "zest": variant("zest", describe={"n_samples": 40}),
    "zest_by_name": variant(
        "zest",
        describe={"n_samples": 40},
        compare=partial(zest.compare, align=False),
        same_classes=True,
    ),
    "cka_gaussian": variant("cka", describe={"kernel": "gaussian"}),
    "cka_unbiased": variant("cka", describe={"unbiased": True}, bounds=(0.0, 2.0)),
    **{
        f"dds_{name}": variant("dds", describe={"similarity": name})
        for name in ("pearson", "laplacian", "gaussian", "linear")
    },
}
METHODS = {name: (method.describe, method.compare) for name, method in TESTED.items()}
BY_CLASS = {name for name, method in TESTED.items() if method.same_classes}
ATTRIBUTIONS = {method.name for method in attribution.METHODS}
# Those that compare directions, of which zero has none.
DIRECTIONAL = {name for name in TESTED if name.startswith(("cka", "dds", "rsa"))} | {
    *ATTRIBUTIONS,
    "depara",
    "model_diff",
}
every_method = pytest.mark.parametrize("name", METHODS)


def between(name: str, a: nn.Module, b: nn.Module, x: Tensor | None = None) -> float:
    describe, compare = METHODS[name]
    x = references() if x is None else x
    return compare(describe(a, x), describe(b, x))


def parts(description: Any) -> list[Tensor]:
    """The tensors of a description."""
    if isinstance(description, Tensor):
        return [description]
    return [description.nodes, description.edges]


@every_method
def test_identical_models_are_at_exactly_0(name: str) -> None:
    net = network(0)
    assert between(name, net, copy.deepcopy(net)) == 0


@pytest.mark.slow
@every_method
def test_a_slightly_changed_copy_is_nearer_than_an_independent_network(name: str) -> None:
    x = references(96)
    for seed in range(3):
        near = between(name, network(seed), perturbed(network(seed)), x)
        far = [between(name, network(seed), network(seed + other), x) for other in (10, 20, 30)]
        assert 0 <= 4 * near < min(far)


@every_method
def test_the_order_of_the_two_models_matters_where_declared(name: str) -> None:
    there, back = (between(name, network(a), network(b)) for a, b in ((0, 1), (1, 0)))
    if TESTED[name].symmetric:
        assert there == pytest.approx(back, abs=1e-12)
    else:
        assert abs(there - back) > 1e-3


@every_method
def test_distances_keep_to_the_declared_bounds(name: str) -> None:
    low, high = TESTED[name].bounds
    found = [between(name, network(0), network(seed, gain=5)) for seed in range(1, 6)]
    assert low <= min(found) < max(found) <= high


@every_method
def test_who_sees_more_than_labels(name: str) -> None:
    describe, compare = METHODS[name]
    x, net, other = references(), network(0).eval(), network(1).eval()

    def labels(z: Tensor) -> Tensor:
        """The same labels by other scores."""
        z = net(z)
        return z + 7 * nn.functional.one_hot(z.argmax(1), CLASSES).to(z)

    changed = compare(describe(labels, x), describe(other, x))
    same = changed == pytest.approx(compare(describe(net, x), describe(other, x)), abs=1e-9)
    # Adding a constant to one score changes no gradient either.
    assert same == (TESTED[name].access in ("labels", "gradients") and name != "depara")


@every_method
def test_who_needs_gradients(name: str) -> None:
    describe, _ = METHODS[name]
    net = network(0).eval()
    if TESTED[name].access == "gradients":
        with pytest.raises(TypeError, match="does not depend differentiably"):
            describe(lambda z: net(z).detach(), references())
    else:
        describe(lambda z: net(z).detach(), references())


@every_method
def test_who_ignores_the_order_of_classes(name: str) -> None:
    net = network(0)
    found = between(name, net, permuted(net))
    if name in BY_CLASS:
        assert found > 0.1
    else:
        assert found == pytest.approx(0, abs=1e-5)


@every_method
def test_batch_size_changes_rounding_only(name: str) -> None:
    describe, compare = METHODS[name]
    option = "chunk_size" if name in ATTRIBUTIONS else "batch_size"
    net, x = network(0), references(9)
    whole = describe(net, x)
    for size in (1, 4):
        cut = describe(net, x, **{option: size})
        for found, expected in zip(parts(cut), parts(whole), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert compare(cut, whole) == pytest.approx(0, abs=1e-6)


@every_method
def test_model_and_references_are_left_as_they_were(name: str) -> None:
    describe, _ = METHODS[name]
    net, x = network(0).train(), references()
    last_layer(net).requires_grad_(False)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    images = x.clone()
    first = describe(net, x)
    assert all(
        torch.equal(a, b) for a, b in zip(parts(first), parts(describe(net.eval(), x)), strict=True)
    )
    net.train()
    describe(net, x)
    assert all(module.training for module in net.modules())
    assert [p.requires_grad for p in net.parameters()] == [True, True, False, False]
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert torch.equal(x, images)
    assert not any(tensor.requires_grad for tensor in parts(first))


@every_method
def test_the_random_numbers_of_the_caller_are_left_alone(name: str) -> None:
    net = network(0)
    state = torch.get_rng_state()
    METHODS[name][0](net, references())
    assert torch.equal(torch.get_rng_state(), state)


class InPlace(nn.Module):
    """Begins by writing to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.mul_(0.5))


@every_method
def test_models_that_write_to_their_input(name: str) -> None:
    describe, compare = METHODS[name]
    x = references()
    images, net = x.clone(), network(0).eval()
    description = describe(InPlace(), x)
    assert torch.equal(x, images)
    assert compare(description, describe(lambda z: net(z * 0.5), x)) == pytest.approx(0, abs=1e-6)


class Broken(nn.Module):
    """Overflows at one reference, however bright."""

    def __init__(self, at: Tensor, value: float) -> None:
        super().__init__()
        self.net, self.at, self.value = network(0), at, value

    def forward(self, x: Tensor) -> Tensor:
        bright = x / x.amax((1, 2, 3), keepdim=True)
        hit = ((bright - self.at / self.at.max()).abs() < 1e-5).flatten(1).all(1)
        return self.net(x) * torch.where(hit, self.value, 1.0)[:, None]


@every_method
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_are_refused_with_the_reference(
    name: str, value: float
) -> None:
    x = references()
    with pytest.raises(ValueError, match=r"at reference 13 is not finite"):
        METHODS[name][0](Broken(x[13], value), x)


@every_method
def test_models_that_always_answer_alike(name: str) -> None:
    # Attribution maps of a constant are zero, and so are directions; see
    # modelgif.distances.distance.
    one, other, x = constant(network(0)), constant(network(1)), references()
    describe, compare = METHODS[name]
    first, second, usual = describe(one, x), describe(other, x), describe(network(2), x)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        between_them = compare(first, second)
        n_first = len(warned)
        from_usual = compare(first, usual)
    assert {warning.category for warning in warned} <= {ZeroCellWarning}
    assert bool(warned) >= (name in DIRECTIONAL)
    if warned:
        assert (between_them, from_usual) == (0, 1)
        assert 0 < n_first < len(warned)
        return
    assert compare(first, first) == 0
    assert 0 < from_usual < math.inf
    # Nothing changes from one reference to the next, and so nothing between two such models.
    if name.startswith("sac"):
        assert between_them == pytest.approx(0, abs=1e-12)


@every_method
def test_unlike_references_are_refused(name: str) -> None:
    describe, compare = METHODS[name]
    net = network(0)
    with pytest.raises(ValueError, match="at the same references"):
        compare(describe(net, references(24)), describe(net, references(23)))
    with pytest.raises(ValueError, match="references"):
        describe(net, references()[:0])


@every_method
def test_scores_may_come_in_a_mapping_and_from_a_function(name: str) -> None:
    net, x = network(0).eval(), references()
    describe, compare = METHODS[name]
    assert compare(describe(net, x), describe(lambda z: {"logits": net(z)}, x)) == 0


@pytest.mark.parametrize(
    "name", [n for n in METHODS if n not in BY_CLASS and n not in ("zest", *ATTRIBUTIONS)]
)
def test_models_of_unlike_label_sets_can_be_compared(name: str) -> None:
    assert 0.001 < between(name, network(0, 5), network(0, 8)) < 2


def test_label_sets_must_agree_where_classes_are_compared() -> None:
    for name in ("jsd", "zest_by_name"):
        with pytest.raises(ValueError, match="classes"):
            between(name, network(0, 5), network(0, 8))


@pytest.mark.parametrize("name", [n for n, method in TESTED.items() if method.is_per_reference])
def test_terms_of_a_mean_are_each_reference_s_own(name: str) -> None:
    describe, compare = METHODS[name]
    method = TESTED[name]
    a, b, x = network(0), network(1), references()
    terms = method.distances(describe(a, x), describe(b, x))
    assert terms.shape == (N,)
    assert terms.dtype == torch.float64
    assert terms.mean().item() == pytest.approx(compare(describe(a, x), describe(b, x)), rel=1e-12)
    chosen = torch.tensor([17, 3, 8])
    own = method.distances(describe(a, x[chosen]), describe(b, x[chosen]))
    torch.testing.assert_close(own, terms[chosen], rtol=1e-4, atol=1e-6)


def test_every_file_declares_its_methods() -> None:
    files = {
        found.name
        for found in pkgutil.iter_modules(methods.__path__)
        if not found.name.startswith("_")
    } - {"method", "registry"}
    assert set(methods.ACCESS) == files
    for name in files:
        module = importlib.import_module(f"modelgif.methods.{name}")
        assert callable(module.describe)
        assert callable(module.compare)
        assert "Source: " in module.__doc__
        assert all(REGISTERED[method.name] is method for method in module.METHODS)


def test_every_method_is_documented() -> None:
    page = Path(__file__).parents[2] / "docs" / "methods.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for name in REGISTERED:
        assert any(f"| `{name}` |" in row for row in rows), (
            f"docs/methods.md has no row for the method {name}: run python -m docs.fill"
        )


def test_labels_of_dense_outputs_count_by_their_share() -> None:
    a, b = torch.zeros(2, 2, 2, dtype=torch.long), torch.zeros(2, 2, 2, dtype=torch.long)
    b[1, 0] = 3
    assert label_agreement.per_reference(a, b).tolist() == [0, 0.5]
    assert label_agreement.compare(a, b) == 0.25


def test_divergences_equal_scipy_s() -> None:
    x = references(200)
    a, b = network(0, gain=4), network(1, gain=4)
    with torch.no_grad():
        p, q = (net.eval()(x).double().softmax(1).numpy() for net in (a, b))
    first, second = output_divergence.describe(a, x), output_divergence.describe(b, x)
    for kind, expected in (
        ("jensen_shannon", scipy.spatial.distance.jensenshannon(p, q, axis=1) ** 2),
        ("kullback_leibler", scipy.special.rel_entr(p, q).sum(1)),
    ):
        found = output_divergence.per_reference(first, second, kind=kind)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-12)
        assert output_divergence.compare(first, second, kind=kind) == pytest.approx(
            expected.mean(), rel=1e-6
        )


def test_divergences_of_answers_without_overlap() -> None:
    # Probabilities of exp(-2000) are 0 in any floating-point format; their logarithms are not.
    scores = torch.tensor([[1000.0, -1000.0], [-1000.0, 1000.0]])
    one = output_divergence.describe(lambda z: scores[: len(z)], references(2))
    other = output_divergence.describe(lambda z: scores.flip(0)[: len(z)], references(2))
    assert output_divergence.compare(one, other) == pytest.approx(math.log(2), rel=1e-12)
    assert output_divergence.compare(one, other, kind="kullback_leibler") == pytest.approx(2000)


def test_probabilities_may_be_given_by_their_logarithm() -> None:
    net, x = network(0).eval(), references()
    of_logits = output_divergence.describe(net, x)
    of_probabilities = output_divergence.describe(lambda z: net(z).softmax(1).log(), x)
    torch.testing.assert_close(of_probabilities, of_logits, rtol=1e-5, atol=1e-5)


def test_an_unknown_divergence_is_refused() -> None:
    a = output_divergence.describe(network(0), references())
    with pytest.raises(ValueError, match="kind must be one of jensen_shannon, kullback_leibler"):
        output_divergence.compare(a, a, kind="renyi")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("module", [cka, rsa, dds])
def test_features_may_take_the_place_of_scores(module: Any) -> None:
    a, b, x = network(0), network(1), references()
    first, second = (module.describe(net, x, features=penultimate_features) for net in (a, b))

    def of_hidden_layer(net: nn.Sequential) -> Any:
        return module.describe(net[:-1], x)

    assert module.compare(first, of_hidden_layer(a)) == pytest.approx(0, abs=1e-9)
    assert module.compare(first, second) == pytest.approx(
        module.compare(of_hidden_layer(a), of_hidden_layer(b)), abs=1e-9
    )
    assert module.compare(first, second) > 0.05
    with pytest.raises(TypeError, match="features need a torch module, got function"):
        module.describe(lambda z: a(z), x, features=penultimate_features)
    with pytest.raises(ValueError, match=r"one vector per reference, \[24, D\], got \[24, 4, 4\]"):
        module.describe(a, x, features=lambda m, z: torch.zeros(len(z), 4, 4))


def test_graphs_take_features_that_can_be_differentiated() -> None:
    net, x = network(0), references()
    whole = depara.describe(net, x, encoder=net[:-1])
    assert depara.compare(whole, depara.describe(net[:-1], x)) == 0
    assert depara.compare(whole, depara.describe(net, x)) > 0.01
    with pytest.raises(TypeError, match="does not depend differentiably"):
        depara.describe(net, x, encoder=lambda z: net[:-1](z).detach())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_method
def test_on_the_gpu_as_on_the_cpu(name: str) -> None:
    describe, compare = METHODS[name]
    a, b, x = network(0).double(), network(1).double(), references().double()
    expected = compare(describe(a, x), describe(b, x))
    a, b = a.cuda(), b.cuda()
    # Where references lie does not matter to the result.
    for place in ("cpu", "cuda"):
        first, second = describe(a, x.to(place)), describe(b, x.to(place))
        assert all(tensor.is_cuda for tensor in parts(first))
        assert compare(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-9)
