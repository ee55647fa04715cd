import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from modelgif.sketches.approximate import Nearby
from modelgif.sketches.cosine_estimate import NumberFormat, pack_signs
from modelgif.sketches.index import IndexFileError, SketchIndex
from modelgif.sketches.sketch import Sketch, estimate_distance
from modelgif.storage.field_header import FieldHeader

SIZE = 256
NUMBER_FORMATS: tuple[NumberFormat, ...] = ("float32", "float16", "sign")


@pytest.fixture
def make(header: FieldHeader):
    """Sketches with random values, in a few clusters; the first ones do not depend on the count."""

    def sketches(
        count: int, number_format: NumberFormat = "float32", seed: int = 0
    ) -> dict[str, Sketch]:
        generator = torch.Generator().manual_seed(seed)
        centres = torch.randn(5, SIZE, generator=torch.Generator().manual_seed(99))
        own = torch.randn(count, SIZE, generator=generator)
        numbers = 0.8 * centres[torch.arange(count) % 5] + 0.6 * own
        return {
            f"m{seed}.{i}": Sketch(
                field=replace(header, model=f"m{seed}.{i}"),
                size=SIZE,
                seed=0,
                number_format=number_format,
                values=stored(row, number_format),
            )
            for i, row in enumerate(numbers)
        }

    return sketches


def stored(numbers: Tensor, number_format: str) -> Tensor:
    return (
        pack_signs(numbers)
        if number_format == "sign"
        else numbers.to(getattr(torch, number_format))
    )


def brute_force(sketches: dict[str, Sketch], query: Sketch) -> list[tuple[float, str]]:
    return sorted((estimate_distance(query, s).distance, name) for name, s in sketches.items())


@pytest.mark.slow
@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
@pytest.mark.parametrize("block_bytes", [2**26, 3 * SIZE, 1])
def test_search_is_brute_force(
    make, tmp_path: Path, number_format, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelgif.sketches.index._BLOCK_BYTES", block_bytes)
    sketches = make(40, number_format)
    index = SketchIndex(tmp_path / "index")
    index.add(dict(list(sketches.items())[:15]))
    index.add(dict(list(sketches.items())[15:]))
    assert len(index) == 40
    for query in [*make(3, number_format, seed=1).values(), sketches["m0.7"]]:
        expected = brute_force(sketches, query)
        for k in (1, 7, 40, 100):
            names, distances = index.search(query, k)
            np.testing.assert_allclose(distances, [d for d, _ in expected[:k]], atol=2e-6)
            found = {name: estimate_distance(query, sketches[name]).distance for name in names}
            np.testing.assert_allclose(distances, list(found.values()), atol=2e-6)
            assert len(set(names)) == min(k, 40)
    assert index.search(sketches["m0.7"], 1).names == ["m0.7"]


def test_equally_near_models_come_in_the_order_of_adding(make, tmp_path: Path) -> None:
    (one,) = make(1, "sign").values()
    index = SketchIndex(tmp_path)
    index.add({name: one for name in "cab"})
    names, distances = index.search(one, 3)
    assert names == ["c", "a", "b"]
    assert distances.tolist() == [0, 0, 0]
    assert index.search(one, 2).names == ["c", "a"]


@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_the_files_are_the_same_however_they_were_filled(
    make, tmp_path: Path, number_format
) -> None:
    sketches = make(9, number_format)
    index = SketchIndex(tmp_path / "one")
    for name, sketch in sketches.items():
        index.add({name: sketch})
    SketchIndex(tmp_path / "all").add(sketches)
    for file in ("values.bin", "names.txt"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "all" / file).read_bytes()
    again = SketchIndex(tmp_path / "one")
    assert again.names == list(sketches)
    for row, sketch in enumerate(sketches.values()):
        assert torch.equal(again.values([row])[0], sketch.values)


def test_other_headers_and_names_are_refused_whole(make, tmp_path: Path) -> None:
    sketches = make(4)
    index = SketchIndex(tmp_path)
    index.add(sketches)
    (new,) = make(1, seed=1).values()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for bad, what in (
        (replace(new, seed=1), "seed differ, 0 and 1"),
        (replace(new, field=replace(new.field, target="output_sum")), "target differ"),
        (replace(new, field=replace(new.field, references_sha256="ef")), "references_sha256"),
        (replace(new, number_format="float16", values=new.values.half()), "number_format differ"),
    ):
        with pytest.raises(IndexFileError, match=f"bad does not belong in .*: their {what}"):
            index.add({"good": new, "bad": bad})
        with pytest.raises(IndexFileError, match=f"cannot be compared with those in .*{what}"):
            index.search(bad)
    with pytest.raises(IndexFileError, match=r"has a model named 'm0\.2' already"):
        index.add({"good": new, "m0.2": new})
    assert len(index) == 4
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    with pytest.raises(IndexFileError, match="belong"):
        SketchIndex(tmp_path / "new").add({"a": new, "b": replace(new, seed=3)})
    assert len(SketchIndex(tmp_path / "new")) == 0


class Killed(BaseException):
    pass


@pytest.mark.parametrize("death", range(7))
def test_a_killed_addition_adds_nothing_and_leaves_no_trace(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: int
) -> None:
    """Killed at each flush to the disk, one of which is after the addition has been made."""
    old, new = make(6), make(5, seed=1)
    whole = SketchIndex(tmp_path / "whole")
    whole.add(old)
    whole.add(new)
    index = SketchIndex(tmp_path / "index")
    index.add(old)
    query = new["m1.3"]
    before, after = brute_force(old, query), brute_force(old | new, query)
    calls, fsync = [], os.fsync

    def dying(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == death + 1:
            # Half of what had been written is on the disk.
            raise Killed
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying)
        if death < 4:
            with pytest.raises(Killed):
                index.add(new)
        else:
            index.add(new)
    found = SketchIndex(tmp_path / "index")
    added = len(found) == 11
    assert len(found) in (6, 11)
    assert added == (death >= 3)
    expected = [name for _, name in (after if added else before)]
    assert found.search(query, 20).names == expected
    if not added:
        found.add(new)
    for file in ("values.bin", "names.txt"):
        paths = [tmp_path / folder / file for folder in ("index", "whole")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_longer_tail_of_a_dead_writer_is_cut_off(make, tmp_path: Path) -> None:
    index = SketchIndex(tmp_path)
    index.add(make(3))
    for file in ("values.bin", "names.txt"):
        with (tmp_path / file).open("ab") as tail:
            tail.write(b"x" * 10_000)
    assert len(SketchIndex(tmp_path)) == 3
    index.add(make(2, seed=1))
    assert (tmp_path / "values.bin").stat().st_size == 5 * 4 * SIZE
    assert SketchIndex(tmp_path).names == [*make(3), *make(2, seed=1)]


def test_two_writers_do_not_lose_each_others_sketches(make, tmp_path: Path) -> None:
    one, other = SketchIndex(tmp_path), SketchIndex(tmp_path)
    one.add(make(3))
    other.add(make(2, seed=1))
    one.add(make(4, seed=2))
    assert len(one) == 9
    assert set(SketchIndex(tmp_path).names) == {*make(3), *make(2, seed=1), *make(4, seed=2)}
    with pytest.raises(IndexFileError, match="has a model named"):
        other.add(make(1, seed=2))


def test_damage_is_noticed(make, tmp_path: Path) -> None:
    index = SketchIndex(tmp_path)
    index.add(make(3, "sign"))
    index.add(make(2, "sign", seed=1))
    for file in ("values.bin", "names.txt", "index.json"):
        path = tmp_path / file
        sound = path.read_bytes()
        for position in range(0, len(sound), max(1, len(sound) // 25)):
            flipped = bytes([sound[position] ^ 2])
            path.write_bytes(sound[:position] + flipped + sound[position + 1 :])
            with pytest.raises(IndexFileError, match=r"damaged|not a sound index"):
                SketchIndex(tmp_path)
        path.write_bytes(sound[:-3])
        with pytest.raises(IndexFileError, match="not a sound index"):
            SketchIndex(tmp_path)
        path.unlink()
        if file != "index.json":
            with pytest.raises(IndexFileError, match="not a sound index"):
                SketchIndex(tmp_path)
        path.write_bytes(sound)
    assert len(SketchIndex(tmp_path)) == 5


def test_what_is_no_number_is_last_and_not_left_out(make, tmp_path: Path) -> None:
    sketches = make(5)
    sketches["m0.2"] = replace(sketches["m0.2"], values=torch.full((SIZE,), torch.nan))
    index = SketchIndex(tmp_path)
    index.add(sketches)
    names, distances = index.search(sketches["m0.0"], 5)
    assert names[0] == "m0.0"
    assert names[-1] == "m0.2"
    assert distances.isnan().tolist() == [False] * 4 + [True]


def test_refusals(make, tmp_path: Path) -> None:
    index = SketchIndex(tmp_path / "index")
    assert len(index) == 0
    (one,) = make(1).values()
    with pytest.raises(IndexFileError, match="has no sketches yet"):
        index.search(one)
    index.add({})
    assert not (tmp_path / "index").exists()
    index.add({"one": one})
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        index.search(one, 0)
    (tmp_path / "index" / "index.json").write_text('{"schema_version": 7}')
    with pytest.raises(IndexFileError, match="schema version 7"):
        SketchIndex(tmp_path / "index")


def test_without_faiss_the_message_says_what_to_install(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = SketchIndex(tmp_path)
    index.add(make(2))
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'modelgif\[index\]', or search exactly"):
        Nearby(index)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
@pytest.mark.parametrize("number_format", NUMBER_FORMATS)
def test_approximate_search_finds_nearly_all(make, tmp_path: Path, number_format) -> None:
    sketches = make(400, number_format)
    index = SketchIndex(tmp_path)
    index.add(sketches)
    nearby = Nearby(index)
    hits = []
    for query in make(20, number_format, seed=1).values():
        exact, found = index.search(query, 10), nearby.search(query, 10, ef_search=64)
        assert len(found.names) == 10
        assert (found.distances.diff() >= 0).all()
        for name, distance in zip(found.names, found.distances.tolist(), strict=True):
            assert distance == pytest.approx(
                estimate_distance(query, sketches[name]).distance, abs=2e-6
            )
        hits.append(len(set(found.names) & set(exact.names)))
    assert sum(hits) >= 0.9 * 200
    assert nearby.search(sketches["m0.123"], 1).names == ["m0.123"]
    with pytest.raises(IndexFileError, match="seed differ"):
        nearby.search(replace(sketches["m0.1"], seed=4))
    with pytest.raises(ValueError, match="ef_search must be at least 1, got 0"):
        nearby.search(sketches["m0.1"], ef_search=0)
    # One that looks at all misses hardly any, and no more are there than all.
    everything = nearby.search(sketches["m0.1"], 500, ef_search=500).names
    assert set(everything) <= set(sketches)
    assert 396 <= len(set(everything)) == len(everything)


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="faiss is not installed")
def test_approximate_search_needs_sketches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no sketches yet"):
        Nearby(SketchIndex(tmp_path))
