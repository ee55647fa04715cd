import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from modelgif.distances.distance import (
    METRICS,
    ZeroCellWarning,
    distance,
    distance_per_reference,
    pairwise_distances,
    zero_cells,
)
from modelgif.fields.gradient_field import gradient_field
from modelgif.storage.field_store import FieldHeader, FieldStore

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "field_golden.json").read_text())
SETTINGS = ("method", "n_steps", "cumsum", "multiply_by_inputs", "baseline")
COSINE = [metric for metric in METRICS if metric.startswith("cosine")]

# The package's function `distance` hides the module of that name from ordinary imports.
MODULE = importlib.import_module("modelgif.distances.distance")

zero_cells_allowed = pytest.mark.filterwarnings("ignore:zero cells:UserWarning")


def random_fields(count: int, shape: tuple[int, ...] = (7, 3, 2, 4, 5)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(count, *shape, generator=generator, dtype=torch.float64))


@st.composite
def field_tuples(draw: st.DrawFn, count: int) -> list[Tensor]:
    """Fields of one small shape, among them ones with zero, equal, opposite and tiny cells."""
    shape = (count, draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    numbers = st.floats(-1e3, 1e3) | st.integers(-2, 2).map(float)
    fields = torch.from_numpy(draw(arrays.arrays(np.float64, shape, elements=numbers)))
    if draw(st.booleans()):
        fields[-1] = draw(st.sampled_from([-1.0, 1.0, 3.0])) * fields[0]
    return list(fields)


@pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda case: "-".join(str(case[key]) for key in SETTINGS)
)
def test_golden_distances(case: dict) -> None:
    x, baseline = (torch.tensor(GOLDEN[name], dtype=torch.float64) for name in ("x", "baseline"))
    fields = []
    for name in "AB":
        w1, b1, w2, b2 = (torch.tensor(w, dtype=torch.float64) for w in GOLDEN[name])
        fields.append(
            gradient_field(
                lambda z, w1=w1, b1=b1, w2=w2, b2=b2: (z @ w1.T + b1).tanh() @ w2.T + b2,
                x,
                baseline=0.0 if case["baseline"] == "zero" else baseline,
                n_steps=case["n_steps"],
                rule=case["method"],
                cumulative=case["cumsum"],
                scale_by_path=case["multiply_by_inputs"],
            )
        )
    # The generator rounds weights to float32, in which those of 2 steps are exact.
    tolerance = {2: 1e-12, 5: 1e-7}[case["n_steps"]]
    keys = ("cosine_mean", "euclid_mean", "cosine_frechet", "euclid_frechet")
    for metric, key in zip(METRICS, keys, strict=True):
        assert distance(*fields, metric=metric) == pytest.approx(case[key], rel=tolerance)  # type: ignore[arg-type]
    parts = distance_per_reference(*fields)
    assert parts.tolist() == pytest.approx(case["cosine_per_sample"], rel=tolerance)


def test_there_are_28_golden_cases() -> None:
    assert len(GOLDEN["cases"]) == 28


@pytest.mark.slow
@zero_cells_allowed
@pytest.mark.parametrize("metric", METRICS)
@given(fields=field_tuples(3))
def test_axioms_of_a_distance(metric, fields: list[Tensor]) -> None:
    a, b, _ = fields
    assert distance(a, a, metric=metric) == 0
    assert distance(a, b, metric=metric) == distance(b, a, metric=metric)
    matrix = pairwise_distances(fields, metric=metric)
    assert torch.equal(matrix, matrix.T)
    assert (matrix.diagonal() == 0).all()
    assert (matrix >= 0).all()
    if metric in COSINE:
        assert distance(a, b, metric=metric) <= 2
        assert (matrix <= 2).all()
    # The square root makes the mean of cosines a metric; the Euclidean kinds are one already.
    metric = (2 * matrix).sqrt() if metric == "cosine" else matrix
    if metric != "cosine_frechet":
        slack = 1e-7 if metric == "cosine" else 1e-9 * (1 + float(matrix.max()))
        assert metric[0, 2] <= metric[0, 1] + metric[1, 2] + slack


@pytest.mark.slow
@zero_cells_allowed
@pytest.mark.parametrize("metric", COSINE)
@given(fields=field_tuples(2), power=st.sampled_from([-300, -30, -4, 3, 30, 290]))
def test_cosine_kinds_ignore_the_scale_of_the_output(
    metric, fields: list[Tensor], power: int
) -> None:
    a, b = (field.where(field.abs() > 1e-3, 0) for field in fields)  # nothing underflows
    expected = distance(a, b, metric=metric)
    assert distance(10.0**power * a, b, metric=metric) == pytest.approx(expected, abs=1e-12)
    assert pairwise_distances([a, 10.0**power * b], metric=metric)[0, 1] == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.slow
@zero_cells_allowed
@pytest.mark.parametrize("metric", METRICS)
@given(fields=field_tuples(2), data=st.data())
def test_the_order_of_the_references_does_not_matter(metric, fields: list[Tensor], data) -> None:
    order = data.draw(st.permutations(range(len(fields[0]))))
    a, b = (field[order] for field in fields)
    before = distance_per_reference(*fields, metric=metric)
    assert torch.equal(distance_per_reference(a, b, metric=metric), before[order])
    assert distance(a, b, metric=metric) == pytest.approx(
        distance(*fields, metric=metric), rel=1e-12
    )


@pytest.mark.slow
@zero_cells_allowed
@pytest.mark.parametrize("metric", METRICS)
@given(fields=field_tuples(4))
def test_all_pairs_equal_a_loop_of_pairs(metric, fields: list[Tensor]) -> None:
    loop = [[distance(a, b, metric=metric) for b in fields] for a in fields]
    matrix = pairwise_distances(fields, metric=metric)
    np.testing.assert_allclose(matrix, loop, rtol=1e-12, atol=1e-12)


def test_distances_equal_torchs() -> None:
    fields = random_fields(5)
    a, b = (field.flatten(2) for field in fields[:2])
    cells = 1 - torch.cosine_similarity(a, b, dim=2)
    lengths = (a - b).square().sum(2).sqrt()
    expected = [cells.mean(1), lengths.mean(1), cells.amax(1), lengths.amax(1)]
    for metric, parts in zip(METRICS, expected, strict=True):
        measured = distance_per_reference(*fields[:2], metric=metric)  # type: ignore[arg-type]
        assert measured.dtype == torch.float64
        torch.testing.assert_close(measured, parts, rtol=1e-13, atol=1e-14)
        assert distance(*fields[:2], metric=metric) == pytest.approx(parts.mean().item())  # type: ignore[arg-type]
    matrix = pairwise_distances(fields)
    for i, first in enumerate(fields):
        for j, second in enumerate(fields):
            similarity = torch.cosine_similarity(first.flatten(2), second.flatten(2), dim=2)
            assert matrix[i, j].item() == pytest.approx(1 - similarity.mean().item(), abs=1e-14)


@pytest.mark.parametrize("count", [2, 13, 40])
def test_the_matrix_is_symmetric_to_the_last_bit(count: int) -> None:
    matrix = pairwise_distances(random_fields(count))
    assert matrix.shape == (count, count)
    assert matrix.dtype == torch.float64
    assert torch.equal(matrix, matrix.T)


@pytest.mark.slow
@zero_cells_allowed
@pytest.mark.parametrize("metric", METRICS)
@given(fields=field_tuples(2))
def test_the_longest_leash_is_no_shorter_than_the_mean(metric: str, fields: list[Tensor]) -> None:
    plain = metric.removesuffix("_frechet")
    mean = distance_per_reference(*fields, metric=plain)  # type: ignore[arg-type]
    longest = distance_per_reference(*fields, metric=f"{plain}_frechet")  # type: ignore[arg-type]
    assert (longest >= mean - 1e-12 * mean.abs()).all()
    if fields[0].shape[1] == 1:
        torch.testing.assert_close(longest, mean)


@pytest.mark.parametrize("metric", COSINE)
def test_opposite_fields_are_at_two_and_never_beyond(metric) -> None:
    fields = random_fields(30, (3, 2, 5))
    for field in fields:
        assert 2 - 1e-15 <= distance(field, -field, metric=metric) <= 2
    matrix = pairwise_distances([*fields, *(-field for field in fields)], metric=metric)
    assert matrix.max() <= 2
    torch.testing.assert_close(matrix.diagonal(30), torch.full((30,), 2.0, dtype=torch.float64))


def test_copies_of_a_field_are_at_no_distance() -> None:
    (field,) = random_fields(1)
    assert distance(field, field.clone()) == 0
    assert pairwise_distances([field, field.clone(), 2 * field])[0].max() < 1e-15


@zero_cells_allowed
@pytest.mark.parametrize("metric", METRICS)
def test_blocks_do_not_change_the_result(metric, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = random_fields(4)
    fields[1][2, 1] = fields[3][2, 1] = fields[3][5, 0] = 0
    whole = pairwise_distances(fields, metric=metric)
    parts = distance_per_reference(fields[1], fields[3], metric=metric)
    # 4 fields of 120 numbers a reference: blocks of one reference, and of two and then one.
    for numbers in (1, 2 * 4 * 120):
        monkeypatch.setattr(MODULE, "_BLOCK_NUMBERS", numbers)
        torch.testing.assert_close(pairwise_distances(fields, metric=metric), whole)
        measured = distance_per_reference(fields[1], fields[3], metric=metric)
        assert torch.equal(measured, parts)


class Recorder:
    """A field that notes how many references were ever asked for at once."""

    def __init__(self, field: Tensor) -> None:
        self.field, self.shape, self.largest = field, field.shape, 0

    def __getitem__(self, rows: slice) -> Tensor:
        self.largest = max(self.largest, len(self.field[rows]))
        return self.field[rows]


def test_only_a_block_of_references_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK_NUMBERS", 3 * 2 * 120)
    recorders = [Recorder(field) for field in random_fields(3)]
    pairwise_distances(recorders)
    assert [recorder.largest for recorder in recorders] == [2, 2, 2]


@pytest.mark.parametrize("metric", COSINE)
@pytest.mark.parametrize("numbers", [2**25, 1])
def test_zero_cells(metric, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK_NUMBERS", numbers)
    a = torch.eye(3, dtype=torch.float64).expand(2, 3, 3).clone()
    b = a.clone()
    a[0, 0] = b[0, 0] = 0  # in both: distance 0
    b[1, 2] = b[1, 1] = 0  # in one: distance 1
    with pytest.warns(ZeroCellWarning, match=r"zero cells among 6 in field a: 1, b: 3: the target"):
        parts = distance_per_reference(a, b, metric=metric)
    assert parts.tolist() == pytest.approx([0, 2 / 3 if metric == "cosine" else 1])
    with pytest.warns(ZeroCellWarning, match=r"among 6 in field victim: 1, suspect: 3"):
        matrix = pairwise_distances(
            [a, a.abs() + 1, b], metric=metric, names=["victim", "full", "suspect"]
        )
    assert matrix[0, 2].item() == pytest.approx(parts.mean().item(), abs=1e-15)
    assert [zero_cells(field) for field in (a, b, a + 1)] == [1, 3, 0]


@pytest.mark.parametrize("metric", METRICS)
def test_fields_that_vanish_everywhere(metric) -> None:
    zero, one = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    with pytest.warns(ZeroCellWarning, match="field 0: 6, 1: 6"):
        matrix = pairwise_distances([zero, zero, one], metric=metric)
    apart = 1 if metric in COSINE else 2
    assert matrix.tolist() == [[0, 0, apart], [0, 0, apart], [apart, apart, 0]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("numbers", [2**25, 1])
@pytest.mark.parametrize("metric", METRICS)
def test_a_cell_that_is_not_finite_is_named(
    value: float, numbers: int, metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK_NUMBERS", numbers)
    clean, spoiled = random_fields(2)
    spoiled[4, 2, 1, 0, 0] = value
    with pytest.raises(
        ValueError, match=r"field spoiled is not finite .* at reference 4: its model"
    ):
        pairwise_distances([clean, spoiled], metric=metric, names=["clean", "spoiled"])
    with pytest.raises(ValueError, match="field 1 is not finite .* at reference 4"):
        pairwise_distances([clean, spoiled], metric=metric)
    with pytest.raises(ValueError, match="field b is not finite .* at reference 4"):
        distance(clean, spoiled, metric=metric)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(2, 3, 4), (2, 3, 5)], {}, r"one shape .* got \(2, 3, 4\), \(2, 3, 5\)\."),
        ([(2, 3, 4), (1, 3, 4)], {}, "the same references and steps"),
        ([(2, 3), (2, 3)], {}, r"a non-empty \[N, S, \*input_shape\], got \[2, 3\]"),
        ([(0, 3, 4)], {}, r"got \[0, 3, 4\]"),
        ([(2, 3, 4)], {"metric": "cosin"}, "metric must be one of cosine, .* got 'cosin'"),
        ([(2, 3, 4)], {"names": ["a", "b"]}, "one name per field, got 1 fields, 2 names"),
        ([], {}, "got 0 fields, 0 names"),
    ],
)
def test_refusals(shapes, options: dict, message: str) -> None:
    fields = [torch.ones(shape) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        pairwise_distances(fields, **options)
    if len(fields) == 2:
        with pytest.raises(ValueError, match=message):
            distance(*fields)


def test_fields_stay_unmodified_and_need_no_graph() -> None:
    fields = [field.float().requires_grad_() for field in random_fields(2)]
    before = [field.detach().clone() for field in fields]
    for metric in METRICS:
        assert not pairwise_distances(fields, metric=metric).requires_grad  # type: ignore[arg-type]
        assert not distance_per_reference(*fields, metric=metric).requires_grad  # type: ignore[arg-type]
    assert all(torch.equal(f, b) and f.grad is None for f, b in zip(fields, before, strict=True))


def test_float32_fields_are_compared_in_float64() -> None:
    # In float32 the squares of these 10 000 numbers would lose the small difference.
    a = torch.ones(1, 1, 10_000)
    b = a.clone()
    b[..., 0] += 2**-12
    exact = 1 - (1 + 2**-12 / 1e4) / (1 + (2**-11 + 2**-24) / 1e4) ** 0.5
    assert distance(a, b) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_stores_take_the_place_of_tensors(
    metric,
    tmp_path: Path,
    header: FieldHeader,
    write_store: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK_NUMBERS", 400)
    fields = [field.float() for field in random_fields(3)]
    stores = [
        FieldStore(write_store(tmp_path / f"{i}.h5", replace(header, model=f"m{i}"), field))
        for i, field in enumerate(fields)
    ]
    assert torch.equal(
        pairwise_distances(stores, metric=metric), pairwise_distances(fields, metric=metric)
    )
    assert distance(stores[0], fields[1], metric=metric) == distance(*fields[:2], metric=metric)
    assert zero_cells(stores[0]) == 0
    for store in stores:
        store.close()


@pytest.mark.cuda
@pytest.mark.parametrize("metric", METRICS)
def test_distances_on_cuda_equal_those_on_the_cpu(metric) -> None:
    fields = [field.float() for field in random_fields(4)]
    on_cuda = [field.cuda() for field in fields]
    matrix = pairwise_distances(on_cuda, metric=metric)
    torch.testing.assert_close(
        matrix.cpu(), pairwise_distances(fields, metric=metric), rtol=0, atol=1e-12
    )
    parts = distance_per_reference(*on_cuda[:2], metric=metric)
    torch.testing.assert_close(
        parts.cpu(), distance_per_reference(*fields[:2], metric=metric), rtol=0, atol=1e-12
    )


@pytest.mark.cuda
def test_tf32_allowed_by_the_caller_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = [field.float() for field in random_fields(4, (5, 3, 64, 64))]
    expected = pairwise_distances(fields)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    measured = pairwise_distances([field.cuda() for field in fields])
    torch.testing.assert_close(measured.cpu(), expected, rtol=0, atol=1e-12)
