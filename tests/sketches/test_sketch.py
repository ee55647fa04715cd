import hashlib
import math
import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor, nn

from modelgif.distances.distance import pairwise_distances
from modelgif.fields.gradient_field import field_of, gradient_field
from modelgif.references.references import References
from modelgif.sketches.cosine_estimate import (
    count_differing,
    estimate_from_numbers,
    estimate_from_signs,
    interval,
    pack_signs,
    standard_error,
)
from modelgif.sketches.file import read_sketch, write_sketch
from modelgif.sketches.random_projection import RandomProjection, _hadamard
from modelgif.sketches.sketch import Sketch, SketchError, estimate_distance, estimate_distances
from modelgif.sketches.sketcher import SIGNS, Sketcher, sketch_model, sketch_store
from modelgif.storage.field_header import FieldHeader
from modelgif.storage.field_store import FieldStore
from modelgif.storage.tensor_file import SealedFileError, write_sealed
from modelgif.zoo.extract import extract
from tests.support.networks import tiny_network

N, S = 6, 4


def unit_pair(size: int, cosine: float, *, concentrated: bool, seed: int) -> Tensor:
    """Two unit vectors ``[2, size]`` at a cosine; concentrated ones have few large coordinates."""
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.randn(2, size, generator=generator, dtype=torch.float64)
    if concentrated:
        share = torch.arange(1, size + 1, dtype=torch.float64) ** -0.4
        u, v = u * share, v * share
    u = u / u.norm()
    v = v - (v @ u) * u
    return torch.stack([u, cosine * u + math.sqrt(1 - cosine**2) * v / v.norm()])


def project(vectors: Tensor, size: int, seed: int) -> Tensor:
    """Projections ``[A, size]`` of ``[A, K]``."""
    found = []
    for vector in vectors:
        projection = RandomProjection(size, seed=seed)
        projection.add("part", torch.arange(len(vector)), vector)
        found.append(projection.result())
    return torch.stack(found)


def test_the_transform_is_hadamards() -> None:
    x = torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.from_numpy(scipy.linalg.hadamard(64)).double() @ x / 8
    torch.testing.assert_close(_hadamard(x), expected)


def test_the_random_numbers_are_splitmix64s() -> None:
    """The published generator, in Python's whole numbers."""
    mask = 2**64 - 1

    def mixed(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    key = int.from_bytes(hashlib.sha256(b"7/some part").digest()[:8], "big")
    positions = torch.tensor([0, 1, 2, 1000, 2**40])
    found = RandomProjection(8, seed=7)._random("some part", positions)
    expected = [mixed(key + p * 0x9E3779B97F4A7C15 & mask) for p in positions.tolist()]
    assert [value & mask for value in found.tolist()] == expected


@pytest.mark.parametrize("size", [1, 5, 64, 100])
def test_the_projection_is_linear_and_of_its_size(size: int) -> None:
    u, v = unit_pair(300, 0.3, concentrated=False, seed=1)
    a, b, both = project(torch.stack([u, v, 2 * u - 3 * v]), size, seed=4)
    assert a.shape == (size,)
    torch.testing.assert_close(both, 2 * a - 3 * b, rtol=0, atol=1e-12)
    assert not torch.allclose(a, project(u[None], size, seed=5)[0])


def test_without_dropping_the_map_of_few_coordinates_keeps_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Where no two coordinates share a sum, the rest is a rotation.
    monkeypatch.setattr("modelgif.sketches.random_projection._SUMS", 1)
    vector = torch.tensor([0.5, -0.5, math.sqrt(0.5)], dtype=torch.float64)
    (numbers,) = project(vector[None], 2**12, seed=0)
    assert numbers.square().mean().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("concentrated", [False, True])
@pytest.mark.parametrize("cosine", [0.0, 0.6, -0.4])
def test_products_are_unbiased_and_vary_as_theory_says(cosine: float, concentrated: bool) -> None:
    size, turns = 64, 400
    pair = unit_pair(1500, cosine, concentrated=concentrated, seed=2)
    products = torch.stack([project(pair, size, seed=seed).prod(0).mean() for seed in range(turns)])
    variance = (1 + cosine**2) / size
    # The CountSketch's own share is smaller by what coordinates have in common.
    least = variance - 2 * float((pair[0] * pair[1]).square().sum()) / size
    assert abs(products.mean().item() - cosine) < 4 * math.sqrt(variance / turns)
    low, high = scipy.stats.chi2.ppf([1e-4, 1 - 1e-4], turns - 1) / (turns - 1)
    assert least * low < products.var().item() < variance * high


@pytest.mark.slow
@pytest.mark.parametrize("number_format", ["float32", "float16", "sign"])
@pytest.mark.parametrize("distance", [0.02, 0.5, 1.0, 1.3])
def test_estimates_and_intervals_are_as_stated(number_format, distance: float) -> None:
    """At concentrated vectors: mean, standard error, and how often the interval holds."""
    size, turns = 256, 300
    pair = unit_pair(1500, 1 - distance, concentrated=True, seed=3)
    exact = 1 - (pair[0] @ pair[1]).item()
    numbers = torch.stack([project(pair, size, seed=seed) for seed in range(turns)])
    found = estimates(numbers, number_format)
    error = standard_error(torch.tensor(exact), size, number_format).item()
    # What bending by the cosine adds to the mean: half its curvature times the variance.
    angle = math.acos(1 - exact)
    bias = (
        math.cos(angle) * angle * (math.pi - angle) / (2 * size) if number_format == "sign" else 0
    )
    assert abs(found.mean().item() - exact - bias) < 4.5 * error / math.sqrt(turns) + error**2
    assert found.std().item() == pytest.approx(error, rel=0.15)
    for confidence in (0.9, 0.995):
        low, high = interval(found, size, number_format, confidence)
        held = int(((low <= exact) & (exact <= high)).sum())
        # As a count of so many tries might fall.
        least, most = scipy.stats.binom.ppf([1e-4, 1 - 1e-4], turns, confidence)
        slack = 0.01 * turns
        assert least - slack <= held <= most + slack


def estimates(numbers: Tensor, number_format: str) -> Tensor:
    """Estimates ``[A]`` from pairs of projections ``[A, 2, size]``."""
    if number_format == "sign":
        packed = pack_signs(numbers)
        return estimate_from_signs(count_differing(packed[:, 0], packed[:, 1]), numbers.shape[2])
    rounded = numbers.to(getattr(torch, number_format))
    return torch.stack([estimate_from_numbers(a[None], b[None])[0, 0].double() for a, b in rounded])


def test_numbers_reach_the_best_possible_error() -> None:
    """No unbiased estimate has a smaller one: the Fisher information of two normal numbers."""
    for cosine in (0.0, 0.5, 0.9):
        covariance = torch.tensor([[1.0, cosine], [cosine, 1.0]], dtype=torch.float64)
        derivative = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
        step = covariance.inverse() @ derivative
        information = 0.5 * (step @ step).trace().item()
        found = standard_error(torch.tensor(1 - cosine), 100, "float32").item()
        assert found == pytest.approx(1 / math.sqrt(100 * information), rel=1e-6)


def test_wilsons_interval_is_scipys() -> None:
    size = 400
    for differing in (0, 3, 150, 400):
        estimate = estimate_from_signs(torch.tensor(differing), size)
        low, high = interval(estimate, size, "sign", 0.95)
        wilson = scipy.stats.binomtest(differing, size).proportion_ci(0.95, method="wilson")
        assert low.item() == pytest.approx(1 - math.cos(math.pi * wilson.low), abs=1e-9)
        assert high.item() == pytest.approx(1 - math.cos(math.pi * wilson.high), abs=1e-9)


@pytest.mark.parametrize("size", [8, 40, 64, 200, 1024])
def test_signs_are_packed_and_counted(size: int) -> None:
    x, y = torch.randn(2, 5, size, generator=torch.Generator().manual_seed(size))
    a, b = pack_signs(x), pack_signs(y)
    assert a.shape == (5, size // 8)
    expected = ((x > 0) != (y > 0)).sum(1)
    assert torch.equal(count_differing(a, b), expected)
    assert torch.equal(count_differing(a[0], b)[0], expected[0])
    assert count_differing(a, ~a).tolist() == [size] * 5


# -- sketches of models ----------------------------------------------------------------------------


def network(seed: int) -> nn.Module:
    return tiny_network(seed, inputs=18, width=6 + seed)


@pytest.fixture
def references() -> References:
    images = torch.rand(N, 2, 3, 3, generator=torch.Generator().manual_seed(9))
    return References(images, tuple(f"test/{i}" for i in range(N)))


def sketch(model: int, references: References | Tensor, **options: Any) -> Sketch:
    options = {"n_steps": S, "size": 4096, "number_format": "float32"} | options
    return sketch_model(network(model), references, **options)


@pytest.mark.slow
@pytest.mark.parametrize("number_format", ["float32", "float16", "sign"])
def test_sketches_keep_the_distances(references: References, number_format) -> None:
    exact = pairwise_distances(
        [gradient_field(network(i), references.images, n_steps=S) for i in range(4)]
    )
    sketches = [sketch(i, references, size=SIGNS, number_format=number_format) for i in range(4)]
    found = estimate_distances(sketches)
    assert torch.equal(found, found.T)
    assert (found.diagonal() == 0).all()
    torch.testing.assert_close(found, exact, rtol=0, atol=0.012)
    for i in range(4):
        for j in range(i):
            one = estimate_distance(sketches[i], sketches[j])
            assert one.low <= exact[i, j] <= one.high
            assert one.high - one.low < 0.025
            assert one.distance == pytest.approx(found[i, j].item(), abs=1e-5)
    assert (
        sketches[0].n_bytes
        == {"float32": 4 * SIGNS, "float16": 2 * SIGNS, "sign": 20 * 1024}[number_format]
    )


def test_no_pair_is_off_by_more_than_stated_at_20_kib() -> None:
    error = standard_error(torch.linspace(0, 2, 2001), SIGNS, "sign").max().item()
    assert scipy.stats.norm.ppf(0.995) * error < 0.01


@pytest.mark.parametrize("number_format", ["float32", "float16", "sign"])
def test_a_sketch_is_at_no_distance_from_itself(references: References, number_format) -> None:
    one, again = (sketch(1, references, number_format=number_format) for _ in range(2))
    estimate = estimate_distance(one, again)
    assert estimate.distance == pytest.approx(0, abs=1e-6)
    assert estimate.low <= 1e-6
    assert torch.equal(one.values, again.values)


def test_blocks_and_their_order_do_not_matter(references: References, tmp_path: Path) -> None:
    whole = sketch(2, references)
    for options in ({"block": 1}, {"block": 4, "chunk_size": 3}):
        torch.testing.assert_close(sketch(2, references, **options).values, whole.values)
    field = gradient_field(network(2), references.images, n_steps=S)
    sketcher = Sketcher(4096, number_format="float32")
    for rows in ([5, 1], [3], [0, 2, 4]):
        sketcher.add(field[rows], [references.ids[row] for row in rows])
    torch.testing.assert_close(sketcher.finish(whole.field).values, whole.values)
    done = extract({"m": network(2)}, references, tmp_path, n_steps=S, progress=False)
    with FieldStore(done.stores["m"]) as store:
        for block in (None, 2):
            stored = sketch_store(store, size=4096, number_format="float32", block=block)
            torch.testing.assert_close(stored.values, whole.values)
            assert stored.comparable() == whole.comparable()
            assert estimate_distance(stored, whole).distance < 1e-6


def test_a_sketch_is_the_projection_of_the_unit_vector(references: References) -> None:
    """Against a plain loop over cells."""
    field = gradient_field(network(1), references.images, n_steps=S).double().flatten(2)
    projection = RandomProjection(512, seed=6)
    for row, name in enumerate(references.ids):
        for step in range(S):
            cell = field[row, step] / field[row, step].norm() / math.sqrt(N * S)
            projection.add(name, step * 19 + torch.arange(18), cell)
    found = sketch(1, references, size=512, seed=6)
    torch.testing.assert_close(found.values, projection.result().float())


def test_zero_cells_are_alike_and_unlike_others(references: References) -> None:
    field = gradient_field(network(1), references.images, n_steps=S)
    cut, other = field.clone(), gradient_field(network(2), references.images, n_steps=S)
    cut[:3] = 0
    other[1:4] = 0
    header = sketch(1, references).field
    sketches = []
    for one in (field, cut, other):
        sketcher = Sketcher(2**17, number_format="float32")
        sketcher.add(one, references.ids)
        sketches.append(sketcher.finish(header))
    with pytest.warns(UserWarning, match="zero cells"):
        exact = pairwise_distances([field, cut, other])
    assert exact[0, 1] == pytest.approx(0.5)
    assert [one.zero_cells for one in sketches] == [0, 3 * S, 3 * S]
    with pytest.warns(UserWarning, match=f"zero cells in field .*: {3 * S}"):
        found = estimate_distances(sketches)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.012)


def test_only_a_block_of_the_field_is_in_memory(
    references: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, largest = weakref.WeakSet(), [0]

    def counted(model: nn.Module, images: Tensor, *settings: Any, **options: Any) -> Tensor:
        field = field_of(model, images, *settings, **options)
        alive.add(field)
        largest[0] = max(largest[0], sum(len(tensor) for tensor in alive))
        return field

    monkeypatch.setattr("modelgif.zoo.recipe.field_of", counted)
    sketch(1, references, block=2)
    # The one being sketched is let go when the next one is there.
    assert largest[0] <= 4
    largest[0] = 0
    monkeypatch.setattr("modelgif.sketches.sketcher._BLOCK_NUMBERS", 1)
    sketch(1, references)
    assert largest[0] <= 2


def test_a_field_that_is_not_finite_names_model_and_reference(references: References) -> None:
    references.images[4] = float("inf")
    with pytest.raises(ValueError, match="field wild is not finite .* at reference test/4: its"):
        sketch(1, references, name="wild")


def test_sketches_of_other_things_are_refused(references: References) -> None:
    one = sketch(1, references)
    other = References(references.images, tuple(f"train/{i}" for i in range(N)))
    for points, options, what in (
        (other, {}, "references_sha256 differ"),
        (references, {"target": "output_sum"}, "target differ, 'predicted_class' and 'output_sum'"),
        (references, {"baseline": 0.5}, r"baseline differ, '0\.0' and '0\.5'"),
        (references, {"rule": "riemann_left"}, "rule differ"),
        (references, {"n_steps": 3}, "n_steps differ, 4 and 3"),
        (references, {"cumulative": False}, "cumulative differ"),
        (references, {"scale_by_path": False}, "scale_by_path differ"),
        (references, {"size": 2048}, "size differ, 4096 and 2048"),
        (references, {"seed": 1}, "seed differ, 0 and 1"),
        (references, {"number_format": "sign"}, "number_format differ, 'float32' and 'sign'"),
    ):
        different = sketch(1, points, **options)
        for call in (
            lambda d=different: estimate_distance(one, d),
            lambda d=different: estimate_distances([one, one, d]),
        ):
            with pytest.raises(SketchError, match=f"cannot be compared: their {what}"):
                call()
    with pytest.raises(SketchError, match="at least one sketch, got none"):
        estimate_distances([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0, "number_format": "float16"}, "size must be at least 1, got 0"),
        ({"size": 100, "number_format": "sign"}, "a multiple of 8, got 100"),
        (
            {"number_format": "int8"},
            "number_format must be one of float32, float16, sign, got 'int8'",
        ),
        ({"block": 0}, "block must be at least 1 reference, got 0"),
        ({"target": torch.tensor([1])}, "1 labels do not fit 6 references"),
    ],
)
def test_refusals(references: References, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sketch(1, references, **options)


def test_a_reference_is_added_once(references: References) -> None:
    sketcher = Sketcher(64)
    field = gradient_field(network(1), references.images, n_steps=S)
    sketcher.add(field[:2], references.ids[:2])
    with pytest.raises(SketchError, match="reference 'test/1' was added before"):
        sketcher.add(field[1:3], references.ids[1:3])


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95])
def test_a_confidence_is_a_probability(references: References, confidence: float) -> None:
    one = sketch(1, references)
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        estimate_distance(one, one, confidence=confidence)


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number_format", ["float32", "float16", "sign"])
def test_a_file_holds_the_sketch(references: References, tmp_path: Path, number_format) -> None:
    one = sketch(1, references, number_format=number_format, name="the model", size=64)
    path = tmp_path / "one.sketch"
    write_sketch(path, one)
    found = read_sketch(path)
    assert torch.equal(found.values, one.values)
    assert found.values.dtype == one.values.dtype
    assert found.comparable() == one.comparable()
    assert found.field == one.field
    assert found.field.model == "the model"
    before = path.read_bytes()
    write_sketch(path, one)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["one.sketch"]


def test_damage_is_noticed(references: References, tmp_path: Path) -> None:
    path = tmp_path / "one.sketch"
    write_sketch(path, sketch(1, references, size=64, number_format="sign"))
    sound = path.read_bytes()
    for position in range(0, len(sound), 7):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 16]) + sound[position + 1 :])
        with pytest.raises(SealedFileError):
            read_sketch(path)
    for cut in (0, 5, len(sound) - 1):
        path.write_bytes(sound[:cut])
        with pytest.raises(SealedFileError, match="is not a sound sketch"):
            read_sketch(path)
    with pytest.raises(SealedFileError, match="there is no such sketch"):
        read_sketch(tmp_path / "none")


def test_other_files_are_refused(
    references: References, tmp_path: Path, header: FieldHeader, write_store: Callable[..., Path]
) -> None:
    write_sealed(tmp_path / "other", "list", {}, {"values": torch.zeros(3)})
    with pytest.raises(SealedFileError, match="expected a sketch, got a list"):
        read_sketch(tmp_path / "other")
    write_sealed(tmp_path / "old", "sketch", {"size": 3}, {"values": torch.zeros(3)})
    with pytest.raises(SealedFileError, match="not a sketch that this version reads"):
        read_sketch(tmp_path / "old")
    store = write_store(tmp_path / "field.h5", header, torch.rand(2, 3, 4))
    with pytest.raises(SealedFileError, match="is not a sound sketch"):
        read_sketch(store)


def test_a_write_that_dies_leaves_the_old_file(
    references: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one.sketch"
    write_sketch(path, sketch(1, references, size=64))

    def die(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(OSError, match="disk is full"):
        write_sketch(path, sketch(2, references, size=64))
    assert read_sketch(path).values.equal(sketch(1, references, size=64).values)
    assert os.listdir(tmp_path) == ["one.sketch"]


@pytest.mark.cuda
def test_a_sketch_made_on_cuda_is_the_same(references: References) -> None:
    one, other = sketch(1, references, size=SIGNS), sketch(1, references, size=SIGNS, device="cuda")
    torch.testing.assert_close(other.values, one.values, rtol=0, atol=1e-3)
    assert estimate_distance(one, other).distance < 1e-6
