import pytest
import torch
from torch import Tensor

from modelgif.references.references import References
from modelgif.storage.field_store import FieldStore, StoreError
from modelgif.zoo.extract import extract
from modelgif.zoo.shards import Piece, cut, extract_piece, join_pieces
from tests.support.shared_work import network


@pytest.fixture
def references() -> References:
    images = torch.rand(7, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    return References(images, tuple("abcdefg"))


def test_pieces_cover_every_reference_of_every_model_once():
    pieces = cut(["m", "n"], 7, 3)
    ranges = [("m", 0, 3), ("m", 3, 6), ("m", 6, 7), ("n", 0, 3), ("n", 3, 6), ("n", 6, 7)]
    assert pieces == [Piece(*values) for values in ranges]
    assert cut(["m"], 2, 9) == [Piece("m", 0, 2)]
    with pytest.raises(ValueError, match="at least 1 reference, got 0"):
        cut(["m"], 2, 0)


def in_pieces(references: References, folder, size: int, baseline, target, **options):
    pieces = cut(["a", "b"], len(references), size)
    # In an order of their own, as by several workers.
    for piece in reversed(pieces):
        source = network(piece.model)
        extract_piece(
            piece, source, references, folder, target=target, baseline=baseline, **options
        )
    return join_pieces(pieces, references, folder, target=target, baseline=baseline)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("storage", ["float32", "float16_scaled"])
@pytest.mark.parametrize("baseline", ["number", "input", "each"])
@pytest.mark.parametrize("target", ["predicted_class", torch.tensor([0, 1, 2, 0, 1, 2, 0])])
def test_pieces_joined_are_the_whole(
    size: int, storage, baseline: str, target, references: References, tmp_path
) -> None:
    start: float | Tensor = {
        "number": 0.25,
        "input": references.images[0],
        "each": references.images.flip(0),
    }[baseline]
    # A chunk ends with each reference, so that not even rounding differs.
    options = dict(n_steps=4, chunk_size=4, storage=storage)
    paths = in_pieces(references, tmp_path / "pieces", size, start, target, **options)
    models = {name: network(name) for name in "ab"}
    whole = extract(
        models,
        references,
        tmp_path / "whole",
        target=target,
        baseline=start,
        progress=False,
        **options,
    )
    whole.raise_for_failures()
    assert set(paths) == {"a", "b"}
    for name, path in paths.items():
        assert path.read_bytes() == whole.stores[name].read_bytes()


def test_by_default_they_differ_by_rounding_only(references: References, tmp_path) -> None:
    paths = in_pieces(references, tmp_path / "pieces", 2, 0.5, "predicted_class", n_steps=50)
    models = {name: network(name) for name in "ab"}
    options = dict(baseline=0.5, n_steps=50, progress=False)
    whole = extract(models, references, tmp_path / "whole", **options)
    for name, path in paths.items():
        with FieldStore(path) as joined, FieldStore(whole.stores[name]) as one:
            assert joined.header == one.header
            torch.testing.assert_close(joined[:], one[:], rtol=1e-5, atol=1e-7)
    # And so the joined stores count as extracted.
    again = extract(models, references, tmp_path / "pieces", **options)
    assert again.skipped == ["a", "b"]


def test_a_piece_that_is_there_is_not_made_again(references: References, tmp_path) -> None:
    piece = Piece("a", 2, 5)
    path = tmp_path / "pieces" / "a.2-5.h5"
    times = []
    for n_steps in (3, 3, 4):
        extract_piece(piece, network("a"), references, tmp_path, n_steps=n_steps)
        times.append(path.stat().st_mtime_ns)
    assert times[0] == times[1] < times[2]


def test_missing_and_foreign_pieces_are_told(references: References, tmp_path) -> None:
    pieces = cut(["a"], 7, 4)
    extract_piece(pieces[0], network("a"), references, tmp_path, n_steps=3)
    with pytest.raises(StoreError, match="a.4-7.h5: there is no such field store"):
        join_pieces(pieces, references, tmp_path)
    extract_piece(pieces[1], network("b"), references, tmp_path, n_steps=3)
    with pytest.raises(StoreError, match="a.4-7.h5 is of other references, weights or settings"):
        join_pieces(pieces, references, tmp_path)
    assert not (tmp_path / "a.h5").exists()


def test_a_model_that_fails_is_told(references: References, tmp_path) -> None:
    with pytest.raises(RuntimeError, match="no field"):
        extract_piece(Piece("a", 0, 2), torch.nn.Flatten(0), references, tmp_path, n_steps=3)
