import copy

import pytest
import torch
from torch import Tensor, nn

import modelgif as gif
from modelgif.fields.class_contrast import (
    NOTES,
    class_contrast,
    output_kind,
    output_note,
    output_scale,
    predicted_classes,
)
from modelgif.fields.target import resolve_target


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    head = nn.Linear(6 * 16, 5)
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.Tanh(), nn.Flatten(), head).double()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(16, 2, 6, 6, generator=seeded(1), dtype=torch.float64)


def field(model: nn.Module, x: Tensor, **options) -> Tensor:
    options = {"target": "class_contrast", "n_steps": 4, "baseline": 0.3} | options
    return gif.gradient_field(model, x, **options)


class Then(nn.Module):
    def __init__(self, model: nn.Module, change) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.model(x), x)


def shifted_head(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model)
    with torch.no_grad():
        model[3].weight += torch.randn(model[3].weight.shape[1], generator=seeded(2))
        model[3].bias += 3
    return model


SAME = {
    "softmax": lambda m: Then(m, lambda s, _: s.softmax(1)),
    "log-softmax": lambda m: Then(m, lambda s, _: s.log_softmax(1)),
    "permuted classes": lambda m: Then(m, lambda s, _: s[:, [3, 1, 4, 0, 2]]),
    "sum of the input added": lambda m: Then(m, lambda s, x: s + x.sum((1, 2, 3))[:, None] ** 2),
    "one vector added to every row of the head": shifted_head,
    "all of it": lambda m: Then(
        shifted_head(m), lambda s, _: s[:, [3, 1, 4, 0, 2]].log_softmax(1).softmax(1)
    ),
}


@pytest.mark.parametrize("change", SAME)
def test_the_field_of_the_contrast_does_not_change(change: str, network, x: Tensor) -> None:
    ours, theirs = field(network, x), field(SAME[change](network), x)
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-12)
    assert gif.distance(ours, theirs) < 1e-12


@pytest.mark.parametrize("change", SAME)
def test_in_single_precision_it_changes_by_rounding(change: str, network, x: Tensor) -> None:
    network, x = network.float(), x.float()
    assert gif.distance(field(network, x), field(SAME[change](network), x)) < 1e-7


@pytest.mark.parametrize("change", ["softmax", "one vector added to every row of the head"])
def test_that_of_the_plain_score_does(change: str, network, x: Tensor) -> None:
    plain = [field(m, x, target="predicted_class") for m in (network, SAME[change](network))]
    assert gif.distance(*plain) > 0.01


def test_it_is_the_gradient_of_a_difference_with_the_mean(network, x: Tensor) -> None:
    best = network(x).argmax(1)

    def contrast(z: Tensor) -> Tensor:
        return z[:, 0] - z.mean(1)

    for row, target in enumerate(best.tolist()):
        # The class of this reference first, so that the callable knows it.
        ordered = Then(network, lambda s, _, c=target: s.roll(-c, 1))
        expected = field(ordered, x[row : row + 1], target=contrast)
        torch.testing.assert_close(field(network, x)[row : row + 1], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("change", ["softmax", "log-softmax"])
def test_chunks_change_rounding_only(dtype: torch.dtype, change: str, network, x: Tensor) -> None:
    model = SAME[change](network)
    whole = field(model, x, dtype=dtype)
    assert whole.dtype == dtype
    for chunk_size in (1, 7, 64):
        torch.testing.assert_close(field(model, x, dtype=dtype, chunk_size=chunk_size), whole)


def test_what_a_model_gives_is_told_once_from_all_references(x: Tensor) -> None:
    # Rows that sum to one at half of the references only: logits, in every chunk.
    scores = torch.randn(16, 3, generator=seeded(), dtype=torch.float64)
    scores[:8] = scores[:8].softmax(1)
    assert output_kind(scores) == "logits"
    assert output_kind(scores[:8]) == "probabilities"

    def model(z: Tensor) -> Tensor:
        bent = torch.stack([z.mean((1, 2, 3)), z.std((1, 2, 3)), z.amax((1, 2, 3))], 1)
        return torch.where(z[:, 0, :1, 0] > 0.5, bent.softmax(1), -bent)

    fields = [field(model, x, chunk_size=size) for size in (1, 64)]
    torch.testing.assert_close(*fields)


def test_a_settled_target_serves_every_block(network, x: Tensor) -> None:
    model = SAME["softmax"](network)
    target = resolve_target("class_contrast").settled(model(x))
    assert target.name == "class_contrast"
    assert target.settled(model(x)) is target
    blocks = [field(model, rows, target=target) for rows in x.split(5)]
    torch.testing.assert_close(torch.cat(blocks), field(model, x))
    assert resolve_target("predicted_class").settled(model(x)) is resolve_target("predicted_class")


def test_dense_outputs_are_contrasted_at_each_position(x: Tensor) -> None:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 3, 1)).double()
    ours = field(dense, x)
    probabilities = field(nn.Sequential(dense, nn.Softmax(1)), x)
    torch.testing.assert_close(probabilities, ours, rtol=1e-9, atol=1e-12)
    best = dense(x).argmax(1)

    def contrast(output: Tensor) -> Tensor:
        return output.gather(1, best[:, None]).sum((1, 2, 3)) - output.mean(1).sum((1, 2))

    change = contrast(dense(x)) - contrast(dense(torch.full_like(x, 0.3)))
    many = field(dense, x, n_steps=30)[:, -1].flatten(1).sum(1)
    torch.testing.assert_close(many, change.detach(), rtol=1e-6, atol=1e-9)


def test_multi_label_probabilities_have_the_contrast_of_their_log_odds(network, x: Tensor) -> None:
    ours, theirs = field(network, x), field(Then(network, lambda s, _: s.sigmoid()), x)
    assert output_kind(network(x).sigmoid()) == "multi_label"
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-12)


def test_probabilities_that_underflow_have_finite_gradients() -> None:
    answers = torch.tensor([[1.0, 0.0, 1e-30]], requires_grad=True)
    value = class_contrast(answers, torch.tensor([[0]]), "probabilities")
    (gradient,) = torch.autograd.grad(value.sum(), answers)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient[0, 1] == 0
    assert gradient[0, 2] == pytest.approx(-1e30 / 3)


@pytest.mark.parametrize("scale", [1e4, 1e8])
def test_a_saturated_softmax_has_no_field_and_no_nan(scale: float, network, x: Tensor) -> None:
    model = Then(network.float(), lambda s, _: (scale * s).softmax(1))
    assert field(model, x.float()).isfinite().all()


def test_one_hot_answers_have_a_zero_field(network, x: Tensor) -> None:
    def hard(s: Tensor, _: Tensor) -> Tensor:
        return torch.zeros_like(s).scatter(1, s.argmax(1, keepdim=True), 1) + 0 * s

    assert field(Then(network, hard), x).count_nonzero() == 0


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(7))


KINDS = [
    ("logits", draw(16, 10)),
    ("logits", draw(1, 2)),
    ("logits", draw(16, 10).relu()),
    ("logits", draw(16, 10).abs() + 100),
    ("logits", draw(2, 10) / draw(2, 10).norm(dim=1, keepdim=True)),
    ("logits", draw(16, 10, 4, 4)),
    ("logits", draw(16, 2)),
    ("logits", draw(1, 10) + 1e-4 * draw(16, 10)),
    ("probabilities", draw(16, 10).softmax(1)),
    ("probabilities", draw(4, 1000).softmax(1).half()),
    ("probabilities", draw(4, 1000).softmax(1).bfloat16()),
    ("probabilities", (50 * draw(16, 10)).softmax(1)),
    ("probabilities", draw(16, 10, 4, 4).softmax(1)),
    ("probabilities", draw(1, 2).softmax(1)),
    ("log_probabilities", draw(16, 10).log_softmax(1)),
    ("multi_label", draw(16, 10).sigmoid()),
    ("multi_label", draw(64, 2).sigmoid()),
    ("one_hot", torch.eye(10)[torch.arange(16) % 10]),
    ("rounded", (10 * draw(64, 10)).round() / 10),
    ("rounded", (100 * draw(64, 10).softmax(1)).round() / 100),
    ("constant", draw(1, 10).expand(16, 10)),
    ("one_column", draw(16, 1)),
    ("one_column", draw(16, 1, 4, 4)),
    ("embedding", nn.functional.normalize(draw(16, 10))),
]


@pytest.mark.parametrize(("kind", "answers"), KINDS)
def test_what_answers_show(kind: str, answers: Tensor) -> None:
    assert output_kind(answers) == kind


SCALES = {"probabilities": "probabilities", "one_hot": "probabilities", "multi_label": "odds"}


@pytest.mark.parametrize(("kind", "answers"), KINDS)
def test_how_answers_become_logits(kind: str, answers: Tensor) -> None:
    if kind not in ("rounded", "one_column"):
        assert output_scale(answers) == SCALES.get(kind, "logits")


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 2)])
def test_probabilities_are_told_from_few_and_equal_references(rows, network, x: Tensor) -> None:
    # Twice the same image gives a constant, and probabilities all the same.
    images = x[:1].expand(2, -1, -1, -1)[rows]
    twin = field(SAME["softmax"](network), images)
    torch.testing.assert_close(twin, field(network, images), rtol=1e-9, atol=1e-12)


def test_every_kind_is_shown_and_has_a_note() -> None:
    assert {kind for kind, _ in KINDS} == set(NOTES)
    assert all(output_note(kind) == note for kind, note in NOTES.items())
    silent = {kind for kind, note in NOTES.items() if not note}
    assert silent == {"logits", "log_probabilities"}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (draw(4, 3, 2), r"needs scores of classes, \[N, C\] or \[N, C, H, W\], got \[4, 3, 2\]"),
        (draw(0, 3), r"got \[0, 3\]"),
        (torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]), "at reference 1 is not finite"),
    ],
)
def test_refused_answers(answers: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        output_kind(answers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, _: s[:, :1], r"gives one number per input.*'output_sum'.*torch\.cat"),
        (lambda s, _: nn.functional.normalize(s), "an embedding and not scores.*wrap the network"),
    ],
)
def test_outputs_without_classes_are_refused_with_the_way_out(
    change, message: str, network, x: Tensor
) -> None:
    with pytest.raises(ValueError, match=message):
        field(Then(network, change), x)


def test_the_predicted_class_of_dense_outputs_is_of_each_position() -> None:
    dense = draw(2, 3, 4, 5)
    assert torch.equal(predicted_classes(dense), dense.argmax(1).flatten(1))
    assert torch.equal(predicted_classes(dense[:, :, 0, 0]), dense[:, :, 0, 0].argmax(1)[:, None])
