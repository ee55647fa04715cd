import importlib
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modelgif.distances.distance import ZeroCellWarning, distance_per_reference, pairwise_distances
from modelgif.fields.gradient_field import field_of, gradient_field
from modelgif.references.references import References
from modelgif.storage.field_store import FieldStore
from modelgif.zoo.extract import extract
from modelgif.zoo.stream import StreamedDistances, stream_distances
from modelgif.zoo.stream_checkpoint import StreamCheckpointError
from tests.support.networks import tiny_network

MODULE = importlib.import_module("modelgif.zoo.stream")
N, S = 7, 5


def network(seed: int, width: int = 6) -> nn.Module:
    return tiny_network(seed, inputs=18, width=width)


@pytest.fixture
def zoo() -> dict[str, nn.Module]:
    return {name: network(seed, 5 + seed) for seed, name in enumerate("abcd")}


@pytest.fixture
def references() -> References:
    images = torch.rand(N, 2, 3, 3, generator=torch.Generator().manual_seed(9))
    return References(images, tuple(f"test/{i}" for i in range(N)))


def run(zoo, references, **options: Any) -> StreamedDistances:
    return stream_distances(zoo, references, **({"n_steps": S, "progress": False} | options))


def fields(zoo, references: References, **options: Any) -> list[Tensor]:
    return [
        gradient_field(model, references.images, **({"n_steps": S} | options))
        for model in zoo.values()
    ]


def through_stores(zoo, references: References, folder: Path, **options: Any) -> Tensor:
    done = extract(zoo, references, folder, n_steps=S, progress=False, **options)
    done.raise_for_failures()
    stores = [FieldStore(path) for path in done.stores.values()]
    found = pairwise_distances(stores)
    for store in stores:
        store.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"baseline": 0.3},
        {"baseline": torch.full((2, 1, 1), 0.4)},
        {"baseline": torch.rand(N, 2, 3, 3, generator=torch.Generator().manual_seed(1))},
        {"target": torch.tensor([0, 1, 2, 3, 2, 1, 0]), "rule": "gaussradau"},
        {"target": "output_sum", "cumulative": False, "scale_by_path": False, "chunk_size": 3},
    ],
    ids=lambda options: "-".join(options) or "defaults",
)
@pytest.mark.parametrize("block", [None, 1, 3])
def test_streaming_equals_storing(
    zoo, references: References, tmp_path: Path, options: dict, block: int | None
) -> None:
    found = run(zoo, references, block=block, **options)
    assert found.names == tuple("abcd")
    expected = through_stores(zoo, references, tmp_path, **options)
    torch.testing.assert_close(found.matrix, expected, rtol=0, atol=1e-6)
    if block is None:
        # The same cells, divided in the same way.
        assert torch.equal(found.matrix, expected)
    assert torch.equal(found.matrix, found.matrix.T)
    assert (found.matrix.diagonal() == 0).all()
    assert expected[0, 1:].min() > 0.01
    assert found.zero_cells.tolist() == [0, 0, 0, 0]
    assert (found.per_reference, found.pairs_per_reference) == (None, None)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "cosine_frechet", "euclidean_frechet"])
def test_every_kind_and_every_reference(zoo, references: References, metric) -> None:
    described = fields(zoo, references)
    found = run(zoo, references, metric=metric, against="c", keep_pairs=True, block=2)
    assert found.pairs_per_reference is not None
    assert found.per_reference is not None
    assert found.pairs_per_reference.shape == (4, 4, N)
    for i, one in enumerate(described):
        for j, other in enumerate(described):
            expected = distance_per_reference(one, other, metric=metric)
            torch.testing.assert_close(found.pairs_per_reference[i, j], expected, rtol=0, atol=1e-6)
            if j == 2:
                torch.testing.assert_close(found.per_reference[i], expected, rtol=0, atol=1e-6)
    assert (found.per_reference[2] == 0).all()
    torch.testing.assert_close(found.pairs_per_reference.mean(2), found.matrix)
    torch.testing.assert_close(found.per_reference.mean(1), found.matrix[:, 2])


class Dead(nn.Module):
    """A network that does not see references of positive sum."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network(3)

    def forward(self, x: Tensor) -> Tensor:
        alive = (x.flatten(1).sum(1, keepdim=True) < 0).to(x.dtype)
        return self.network(x) * alive


def test_zero_cells_are_counted_as_with_stores(zoo, references: References, tmp_path: Path) -> None:
    signs = torch.tensor([1.0, -1, 1, -1, -1, 1, 1]).reshape(-1, 1, 1, 1)
    mixed = References(references.images * signs, references.ids)
    models = {"a": zoo["a"], "dead": Dead(), "deaf": Dead()}
    with pytest.warns(ZeroCellWarning, match="zero cells among 35 in field dead: 20, deaf: 20:"):
        found = run(models, mixed, block=2, keep_pairs=True, against="dead")
    with pytest.warns(ZeroCellWarning):
        expected = through_stores(models, mixed, tmp_path)
    torch.testing.assert_close(found.matrix, expected, rtol=0, atol=1e-6)
    assert found.zero_cells.tolist() == [0, 20, 20]
    assert found.matrix[1, 2] == pytest.approx(0, abs=1e-12)
    assert found.pairs_per_reference is not None
    assert found.pairs_per_reference[0, 1][[0, 2, 5, 6]].tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize("against", [None, "a"])
def test_a_field_that_is_not_finite_names_model_and_reference(
    zoo, references: References, against: str | None
) -> None:
    class Overflowing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :2] * torch.where(x.amax((1, 2, 3)) > 2, 3e38, 1.0)[:, None] * 9

    references.images[4, 0, 0] = 50.0
    with pytest.raises(ValueError, match="field wild is not finite .* at reference 4: its model"):
        run(zoo | {"wild": Overflowing()}, references, block=2, against=against)


def test_a_model_that_fails_is_named(zoo, references: References) -> None:
    with pytest.raises(RuntimeError) as caught:
        run(zoo | {"broken": nn.Linear(3, 2)}, References(torch.rand(2, 5), ("x", "y")))
    assert any("'a'" in note for note in caught.value.__notes__)


def test_models_are_left_as_they_were(zoo, references: References) -> None:
    before = {name: model.state_dict() for name, model in zoo.items()}
    zoo["b"].train()
    run(zoo, references, dtype=torch.float64)
    assert zoo["b"].training
    for name, model in zoo.items():
        assert all(p.requires_grad and p.grad is None for p in model.parameters())
        assert all(torch.equal(v, before[name][k]) for k, v in model.state_dict().items())
        assert next(model.parameters()).dtype == torch.float32


def test_memory_holds_one_block_whatever_the_number_of_references(
    zoo, references: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts the references whose fields are alive at once, over all models."""
    alive = weakref.WeakSet()
    largest, asked = [0], []

    def counted(model: nn.Module, images: Tensor, *settings: Any, **options: Any) -> Tensor:
        field = field_of(model, images, *settings, **options)
        alive.add(field)
        asked.append(len(images))
        largest[0] = max(largest[0], sum(len(tensor) for tensor in alive))
        return field

    monkeypatch.setattr("modelgif.zoo.recipe.field_of", counted)
    expected = run(zoo, references, block=2).matrix
    assert asked == [2] * 12 + [1] * 4
    assert largest == [2 * 4]
    many = References(references.images.repeat(3, 1, 1, 1), tuple(map(str, range(3 * N))))
    found = run(zoo, many, block=2).matrix
    assert largest == [2 * 4]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    # By default a block is what fits the numbers, and at least one reference.
    for numbers, expected_block in ((4 * S * 18 * 3, 3), (1, 1)):
        monkeypatch.setattr(MODULE, "_BLOCK_NUMBERS", numbers)
        asked.clear()
        run(zoo, references)
        assert max(asked) == expected_block


@pytest.mark.parametrize(("keep", "expected"), [(True, 1), (False, 4)])
def test_models_are_made_once_or_for_every_block(
    references: References, keep: bool, expected: int
) -> None:
    made = []

    def make() -> nn.Module:
        made.append(1)
        return network(1)

    found = run({"made": make, "given": network(2)}, references, block=2, keep_models=keep)
    assert len(made) == expected
    assert torch.equal(
        found.matrix,
        run({"made": network(1), "given": network(2)}, references, block=2).matrix,
    )


class Killed(BaseException):
    pass


def same(one: StreamedDistances, other: StreamedDistances) -> bool:
    tensors = ("matrix", "zero_cells", "per_reference", "pairs_per_reference")
    return one.names == other.names and all(
        torch.equal(getattr(one, name), getattr(other, name)) for name in tensors
    )


@pytest.mark.slow
@pytest.mark.parametrize("blocks_done", range(5))
@pytest.mark.parametrize("when", ["in a model", "before the rename"])
def test_a_killed_run_continues_to_the_same_bits(
    zoo,
    references: References,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blocks_done: int,
    when: str,
) -> None:
    options = {"block": 2, "against": "b", "keep_pairs": True, "checkpoint": tmp_path / "sums"}
    whole = run(zoo, references, **(options | {"checkpoint": tmp_path / "whole"}))
    calls = []

    def counted(model: nn.Module, images: Tensor, *settings: Any, **extra: Any) -> Tensor:
        # The third of four models of the block.
        if when == "in a model" and len(calls) == 4 * blocks_done + 2:
            raise Killed
        calls.append(len(images))
        return field_of(model, images, *settings, **extra)

    replace, renames = Path.replace, []

    def dying(self: Path, goal: Path) -> Path:
        if when == "before the rename" and len(renames) == blocks_done:
            raise Killed
        renames.append(goal)
        return replace(self, goal)

    with monkeypatch.context() as patch:
        patch.setattr("modelgif.zoo.recipe.field_of", counted)
        patch.setattr(Path, "replace", dying)
        if blocks_done < 4:
            with pytest.raises(Killed):
                run(zoo, references, **options)
        else:
            run(zoo, references, **options)
    calls.clear()
    monkeypatch.setattr("modelgif.zoo.recipe.field_of", counted)
    when = "afterwards"
    assert same(run(zoo, references, **options), whole)
    assert sum(calls) == 4 * (N - min(N, 2 * blocks_done))
    assert (tmp_path / "sums").read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["sums", "whole"]


def test_a_checkpoint_of_another_comparison_is_refused(
    zoo, references: References, tmp_path: Path
) -> None:
    path = tmp_path / "sums"
    run(zoo, references, block=2, checkpoint=path)
    other = References(references.images, tuple(f"train/{i}" for i in range(N)))
    changed: list[tuple[Any, Any, dict, str]] = [
        (zoo, other, {}, "models a references_sha256 is"),
        (zoo, references, {"target": "output_sum"}, "models a target is 'predicted_class' there"),
        (zoo, references, {"rule": "riemann_left"}, "models a rule is 'gausslegendre' there"),
        (zoo, references, {"n_steps": 4}, "models a n_steps is 5 there and 4 here"),
        (zoo, references, {"baseline": 0.5}, "models a baseline is '0.0' there"),
        (zoo, references, {"block": 3}, "block is 2 there and 3 here"),
        (zoo, references, {"metric": "euclidean"}, "kind is 'cosine' there"),
        (zoo, references, {"against": "a"}, "against is None there and 'a' here"),
        (zoo | {"b": network(8, 6)}, references, {}, "models b weights_sha256 is"),
        (zoo | {"e": network(8)}, references, {}, "names is"),
        (dict(reversed(zoo.items())), references, {}, "names is"),
    ]
    for models, points, options, message in changed:
        with pytest.raises(StreamCheckpointError, match=f"is of another comparison: {message}"):
            run(models, points, **({"block": 2, "checkpoint": path} | options))


def test_a_damaged_checkpoint_is_refused(zoo, references: References, tmp_path: Path) -> None:
    path = tmp_path / "sums"
    run(zoo, references, block=4, checkpoint=path)
    sound = path.read_bytes()
    for position in range(0, len(sound), 97):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 4]) + sound[position + 1 :])
        with pytest.raises(StreamCheckpointError, match="Move it away to begin anew"):
            run(zoo, references, block=4, checkpoint=path)
    path.write_bytes(sound[:-9])
    with pytest.raises(StreamCheckpointError, match="is not a sound checkpoint of a streaming"):
        run(zoo, references, block=4, checkpoint=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"against": "e"}, "against must be one of the models a, b, c, d, got 'e'"),
        ({"block": 0}, "block must be at least 1 reference, got 0"),
        ({"metric": "cos"}, "metric must be one of cosine, .* got 'cos'"),
        ({"target": torch.tensor([1, 2])}, "2 labels do not fit 7 references"),
        ({"baseline": torch.zeros(3, 3)}, "a baseline of shape"),
    ],
)
def test_refusals(zoo, references: References, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(zoo, references, **options)
    with pytest.raises(ValueError, match="at least one model, got none"):
        run({}, references, **options)


def test_float32_products_are_right_to_a_millionth(zoo, references: References) -> None:
    exact = run(zoo, references).matrix
    close = run(zoo, references, product_dtype=torch.float32).matrix
    assert close.dtype == torch.float64
    assert 0 < (close - exact).abs().max() < 1e-6


def test_a_tensor_and_addresses_will_do(
    references: References, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "zoo_of_stream.py").write_text(
        "from tests.support.networks import tiny_network\n\n\n"
        "def net(variant):\n    return tiny_network(variant, inputs=18)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    models = {f"m{i}": f"python:zoo_of_stream:net?variant={i}" for i in range(2)}
    found = run(models, references.images)
    expected = pairwise_distances(fields({i: network(i) for i in range(2)}, references))
    torch.testing.assert_close(found.matrix, expected, rtol=0, atol=1e-6)


@pytest.mark.cuda
def test_streaming_on_cuda_equals_the_cpu(zoo, references: References) -> None:
    found = run(zoo, references, device="cuda", block=3)
    torch.testing.assert_close(found.matrix, run(zoo, references).matrix, rtol=0, atol=1e-5)
    assert all(p.device.type == "cpu" for model in zoo.values() for p in model.parameters())


def test_channels_can_be_averaged_before_they_are_compared(zoo, references):
    found = run(zoo, references, average_channels=True, keep_pairs=True, block=3, baseline=0.4)
    means = [field.double().numpy().mean(2) for field in fields(zoo, references, baseline=0.4)]
    cells = np.stack(means).reshape(len(zoo), N, S, 9)
    unit = cells / np.linalg.norm(cells, axis=3, keepdims=True)
    cosines = np.einsum("anks,bnks->abnk", unit, unit)
    expected = torch.from_numpy(1 - cosines.mean(3))
    torch.testing.assert_close(found.pairs_per_reference, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.matrix, expected.mean(2), rtol=0, atol=1e-6)
    assert (found.matrix - run(zoo, references, baseline=0.4).matrix).abs().max() > 0.01


def test_averaged_channels_are_another_comparison(zoo, references, tmp_path):
    path = tmp_path / "sums"
    whole = run(zoo, references, checkpoint=path, block=3)
    with pytest.raises(StreamCheckpointError, match="average_channels is only asked for"):
        run(zoo, references, checkpoint=path, block=3, average_channels=True)
    assert torch.equal(run(zoo, references, checkpoint=path, block=3).matrix, whole.matrix)
    path.unlink()
    run(zoo, references, checkpoint=path, block=3, average_channels=True)
    with pytest.raises(StreamCheckpointError, match="average_channels is only in the file"):
        run(zoo, references, checkpoint=path, block=3)


def test_inputs_without_channels_have_none_to_average():
    rows = torch.rand(3, 4)
    with pytest.raises(ValueError, match=r"\[C, ...\], got a field \[3, 5, 4\]"):
        run({"a": nn.Linear(4, 2), "b": nn.Linear(4, 2)}, rows, average_channels=True)
