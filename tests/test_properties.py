"""What holds for any field, distance, sketch, verdict and score, tried on drawn ones.

The axioms of distances are in test_distance, Holm as a closure in test_verdict_correction, and what
each score declares, on one sample, in test_transferability_properties.
"""

import itertools
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn

from modelgif import transferability as scores
from modelgif.distances.distance import pairwise_distances
from modelgif.distances.pairs import PairSums
from modelgif.fields.gradient_field import gradient_field
from modelgif.sketches.file import read_sketch, write_sketch
from modelgif.sketches.sketch import estimate_distance
from modelgif.sketches.sketcher import Sketcher
from modelgif.verdict import adjust, conformal_p_value
from tests.support.hostile_stores import HEADER

pytestmark = pytest.mark.filterwarnings("ignore::modelgif.distances.distance.ZeroCellWarning")
few = settings(max_examples=25)
seeds = st.integers(0, 2**32 - 1)


# Fields.


class Case(NamedTuple):
    """A smooth network, references, and how they are described."""

    model: nn.Sequential
    images: Tensor
    options: dict


@st.composite
def cases(draw: st.DrawFn) -> Case:
    generator = torch.Generator().manual_seed(draw(seeds))
    size, width, classes = draw(st.integers(1, 6)), draw(st.integers(1, 8)), draw(st.integers(1, 4))
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(2 * size, width), nn.Tanh(), nn.Linear(width, classes)
    ).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    images = torch.randn(draw(st.integers(1, 5)), 2, size, generator=generator).double()
    options = {
        "n_steps": draw(st.integers(1, 6)),
        "rule": draw(st.sampled_from(["gausslegendre", "gaussradau", "riemann_left"])),
        "cumulative": draw(st.booleans()),
        "scale_by_path": draw(st.booleans()),
        "chunk_size": draw(st.integers(1, 9)),
    }
    return Case(model, images, options)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@few
@given(cases(), seeds)
def test_each_reference_has_a_field_of_its_own(case: Case, seed: int) -> None:
    order = torch.randperm(len(case.images), generator=torch.Generator().manual_seed(seed))
    whole = gradient_field(case.model, case.images, **case.options)
    close(gradient_field(case.model, case.images[order], **case.options), whole[order])
    close(gradient_field(case.model, case.images[:1], **case.options), whole[:1])


@few
@given(cases(), st.floats(1e-3, 1e3))
def test_a_field_is_linear_in_the_output(case: Case, factor: float) -> None:
    last = case.model[-1]
    classes = [
        gradient_field(
            case.model, case.images, target=torch.full((len(case.images),), label), **case.options
        )
        for label in range(last.out_features)
    ]
    summed = gradient_field(case.model, case.images, target="output_sum", **case.options)
    close(summed, torch.stack(classes).sum(0))
    own = gradient_field(case.model, case.images, **case.options)
    with torch.no_grad():
        last.weight *= factor
        last.bias *= factor
    close(gradient_field(case.model, case.images, **case.options) / factor, own)


@few
@given(cases(), st.floats(-3, 3))
def test_a_field_moves_with_its_inputs(case: Case, by: float) -> None:
    def moved(x: Tensor) -> Tensor:
        return case.model(x - by)

    there = gradient_field(moved, case.images + by, baseline=by, **case.options)
    close(there, gradient_field(case.model, case.images, baseline=0.0, **case.options))


@few
@given(cases())
def test_a_reference_that_is_the_baseline_has_a_zero_field(case: Case) -> None:
    options = case.options | {"scale_by_path": True}
    assert not gradient_field(case.model, case.images, baseline=case.images, **options).any()


# Distances and sketches.

entries = st.one_of(st.just(0.0), st.floats(-1, 1, width=32).filter(lambda x: abs(x) > 1e-3))


@st.composite
def fields(draw: st.DrawFn, count: int) -> list[Tensor]:
    """Fields of one shape, some with zero cells."""
    shape = tuple(draw(st.integers(1, most)) for most in (6, 3, 4))
    return [
        torch.from_numpy(draw(arrays(np.float32, shape, elements=entries))) for _ in range(count)
    ]


@few
@given(fields(3), st.data())
def test_references_may_come_in_any_blocks(drawn: list[Tensor], data: st.DataObject) -> None:
    whole, parts = PairSums("abc"), PairSums("abc")
    whole.add(drawn)
    cuts = data.draw(st.sets(st.integers(0, len(drawn[0]))))
    for first, stop in itertools.pairwise(sorted(cuts | {0, len(drawn[0])})):
        parts.add([field[first:stop] for field in drawn])
    close(parts.distances(), whole.distances())
    assert parts.zeros.tolist() == whole.zeros.tolist()


@pytest.mark.slow
@few
@given(fields(2), st.permutations(range(6)), st.sampled_from(["float32", "float16", "sign"]), seeds)
def test_sketches_of_any_fields(
    drawn: list[Tensor], order: list[int], number_format: str, seed: int
) -> None:
    def sketch(field: Tensor, order: list[int] | None = None):
        sketcher = Sketcher(4096, seed=seed, number_format=number_format)
        for row in range(len(field)) if order is None else [r for r in order if r < len(field)]:
            sketcher.add(field[row : row + 1], [f"r{row}"])
        return sketcher.finish(replace(HEADER, n_steps=field.shape[1]))

    a, b = sketch(drawn[0]), sketch(drawn[1])
    assert estimate_distance(a, a).distance == pytest.approx(0, abs=1e-3)
    assert estimate_distance(a, b) == estimate_distance(b, a)
    assert torch.equal(sketch(4 * drawn[0], order).values, a.values)
    zeros = [int((field == 0).flatten(2).all(2).sum()) for field in drawn]
    assert [a.zero_cells, b.zero_cells] == zeros
    # Six standard errors of the worst case, in which few large coordinates meet in one sum.
    exact = pairwise_distances(drawn)[0, 1].item()
    assert estimate_distance(a, b).distance == pytest.approx(exact, abs=0.2)
    with tempfile.TemporaryDirectory() as folder:
        write_sketch(path := Path(folder, "a.sketch"), a)
        back = read_sketch(path)
    assert torch.equal(back.values, a.values)
    assert vars(back) | {"values": None} == vars(a) | {"values": None}


# Verdicts.

# Rounded, so that many are equal.
distances = st.lists(st.integers(0, 12).map(lambda n: n / 8), min_size=2, max_size=40)


@given(distances)
def test_p_values_are_uniform_when_the_suspect_is_one_of_many(zoo: list[float]) -> None:
    # Any of the models may be the suspect, each with the same chance: that is the null.
    p_values = [conformal_p_value(suspect, zoo[:i] + zoo[i + 1 :]) for i, suspect in enumerate(zoo)]
    for level in np.arange(1, len(zoo) + 1) / len(zoo):
        assert np.mean(np.array(p_values) <= level + 1e-12) <= level + 1e-12
    if len(set(zoo)) == len(zoo):
        assert sorted(p_values) == pytest.approx(np.arange(1, len(zoo) + 1) / len(zoo))


@given(distances, st.floats(0, 2), st.floats(0, 2), st.randoms(use_true_random=False))
def test_p_values_rise_with_the_distance(known: list[float], a: float, b: float, draw) -> None:
    near, far = sorted((a, b))
    p_near, p_far = conformal_p_value(near, known), conformal_p_value(far, known)
    assert 1 / (len(known) + 1) <= p_near <= p_far <= 1
    shuffled = draw.sample(known, len(known))
    assert conformal_p_value(near, shuffled) == p_near
    # One more honest model farther away than the suspect speaks against it, a nearer one for it.
    assert conformal_p_value(near, [*known, near + 1]) <= p_near
    assert conformal_p_value(near, [*known, near]) >= p_near


p_values = st.lists(st.integers(1, 100).map(lambda n: n / 100), min_size=1, max_size=8)


@given(p_values, st.randoms(use_true_random=False))
def test_holm_is_never_milder_and_knows_no_order(found: list[float], draw) -> None:
    adjusted = np.array(adjust(found, "holm"))
    assert (adjusted >= np.array(found) - 1e-12).all()
    assert (adjusted <= 1).all()
    order = draw.sample(range(len(found)), len(found))
    np.testing.assert_allclose(adjust([found[i] for i in order], "holm"), adjusted[order])
    assert (np.diff(adjusted[np.argsort(found, kind="stable")]) >= -1e-12).all()


@pytest.mark.parametrize("m", [1, 2, 3])
def test_holm_keeps_its_level_exactly(m: int) -> None:
    # Every outcome of m honest suspects with 19 independents each, all of the same chance.
    grid = np.arange(1, 21) / 20
    for level in (0.05, 0.1, 0.2):
        accused = [
            min(adjust(list(outcome), "holm")) <= level + 1e-12
            for outcome in itertools.product(grid, repeat=m)
        ]
        assert np.mean(accused) <= level + 1e-12
    assert np.mean([min(adjust([p], "holm")) <= 0.05 for p in grid]) == pytest.approx(0.05)


# Scores of transferability.

SCORES = {
    name: score.compute
    for name, score in scores.scores().items()
    if score.invariances >= {"class names", "order", "rotation"}
}


@pytest.mark.parametrize("name", SCORES)
@settings(max_examples=12)
@given(st.integers(2, 4), st.integers(4, 15), st.integers(1, 10), st.floats(0.1, 3), seeds)
def test_scores_know_neither_names_nor_order_nor_axes(
    name: str, n_classes: int, n_each: int, n_features: int, signal: float, seed: int
) -> None:
    # In one dimension all cosines are tied, which only the order of the samples resolves.
    assume(name != "knn" or n_features > 1)
    draw = np.random.default_rng(seed)
    y = np.repeat(np.arange(n_classes), n_each + np.arange(n_classes))
    x = signal * draw.normal(size=(n_classes, n_features))[y] + draw.normal(
        size=(len(y), n_features)
    )
    order = draw.permutation(len(y))
    rotation, _ = np.linalg.qr(draw.normal(size=(n_features, n_features)))
    names = draw.permutation(np.arange(-5, 5))[:n_classes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scores.SaturationWarning)
        plain = SCORES[name](x, y)
        changed = SCORES[name]((x @ rotation)[order], names[y][order])
    assert changed == pytest.approx(plain, rel=1e-6, abs=1e-8)
