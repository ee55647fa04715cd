import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import h5py
import pytest
import torch
from torch import Tensor

from modelgif.storage.field_store import FieldHeader, FieldStore, StoreError, check_comparable

Writer = Callable[[Path, FieldHeader, Tensor], Path]


def random_field(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(
        *shape or (5, 3, 2, 4), generator=torch.Generator().manual_seed(0), dtype=dtype
    )


def contents(path: Path) -> tuple[FieldHeader, list[str], Tensor]:
    with FieldStore(path) as store:
        store.verify()
        return store.header, store.reference_ids, store[:]


@pytest.mark.parametrize(
    ("storage", "dtype"), [("float32", torch.float32), ("float64", torch.float64)]
)
def test_round_trip_is_exact(storage, dtype, tmp_path: Path, header, write_store: Writer) -> None:
    field = random_field(dtype=dtype)
    header = replace(header, storage=storage)
    path = write_store(tmp_path / "a" / "model.h5", header, field)
    with FieldStore(str(path)) as store:
        assert store.header == header
        assert store.shape == (5, 3, 2, 4)
        assert len(store) == 5
        assert store.reference_ids == [f"ref/{i}" for i in range(5)]
        assert store[:].dtype == dtype
        assert torch.equal(store[:], field)
        assert torch.equal(store[1:3], field[1:3])
        assert torch.equal(store[4:9], field[4:])
        store.verify()
    assert os.listdir(path.parent) == ["model.h5"]


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e20])
def test_float16_scaled_is_accurate_to_its_word(
    scale: float, tmp_path: Path, header, write_store: Writer
) -> None:
    field = scale * random_field(6, 3, 4000)
    field[2] *= 1e-9
    field[3, 1] = 0
    path = write_store(tmp_path / "m.h5", replace(header, storage="float16_scaled"), field)
    _, _, back = contents(path)
    assert back.dtype == torch.float32
    largest = field.abs().amax(2, keepdim=True)
    assert ((back - field).abs() <= 5e-4 * largest).all()
    assert (back[3, 1] == 0).all()
    plain = write_store(tmp_path / "plain.h5", header, field)
    assert path.stat().st_size < 0.6 * plain.stat().st_size


@pytest.mark.parametrize("storage", ["float32", "float16_scaled"])
def test_numbers_beyond_the_stored_precision_are_refused(
    storage, tmp_path: Path, header, write_store: Writer
) -> None:
    # They would be read back as infinity.
    field = torch.full((2, 3, 4), 1e60, dtype=torch.float64)
    with pytest.raises(StoreError, match="at reference 0"):
        write_store(tmp_path / "m.h5", replace(header, storage=storage), field)


@pytest.mark.parametrize("storage", ["float32", "float64", "float16_scaled"])
def test_the_same_content_gives_the_same_bytes(
    storage, tmp_path: Path, header, write_store: Writer
) -> None:
    header = replace(header, storage=storage)
    first, second, other = (tmp_path / name for name in ("first.h5", "second.h5", "other.h5"))
    field = random_field()
    write_store(first, header, field)
    with FieldStore.create(second, header, [f"ref/{i}" for i in range(5)], (2, 4)) as writer:
        for row in field:
            writer.append(row[None])
    assert first.read_bytes() == second.read_bytes()
    write_store(other, replace(header, weights_sha256="ef" * 32), field)
    assert first.read_bytes() != other.read_bytes()


def test_the_file_is_described_by_itself(tmp_path: Path, header, write_store: Writer) -> None:
    path = write_store(tmp_path / "m.h5", header, random_field())
    with h5py.File(path) as file:
        assert set(file.attrs) == {field.name for field in fields(header)} | {"schema_version"}
        field = file["field"]
        assert isinstance(field, h5py.Dataset)
        assert (field.chunks, field.fletcher32, field.compression) == ((1, 3, 2, 4), True, None)


# Whole or not at all.


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, header: FieldHeader) -> None:
    path = tmp_path / "m.h5"
    with (
        pytest.raises(KeyboardInterrupt),
        FieldStore.create(path, header, ["a", "b"], (4,)) as writer,
    ):
        writer.append(torch.ones(1, 3, 4))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rewrite_keeps_the_old_store(tmp_path: Path, header, write_store: Writer) -> None:
    path = write_store(tmp_path / "m.h5", header, random_field())
    before = path.read_bytes()
    with (
        pytest.raises(StoreError, match="0 of 2 references were written for torchvision:resnet18"),
        FieldStore.create(path, header, ["a", "b"], (4,)),
    ):
        pass
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_killed_process_leaves_no_store(tmp_path: Path, header, write_store: Writer) -> None:
    path = tmp_path / "m.h5"
    killed = (
        "import os, signal, sys, json, torch\n"
        "from modelgif.storage.field_store import FieldHeader, FieldStore\n"
        "header = FieldHeader(**json.loads(sys.argv[2]))\n"
        "with FieldStore.create(sys.argv[1], header, ['a', 'b'], (4,)) as writer:\n"
        "    writer.append(torch.ones(2, 3, 4))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    arguments = [str(path), json.dumps(vars(header))]
    result = subprocess.run([sys.executable, "-c", killed, *arguments])
    assert result.returncode == -signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    assert re.fullmatch(r"m\.h5\..+\.part", left)
    with pytest.raises(StoreError, match="no such field store"):
        FieldStore(path)
    write_store(path, header, random_field())
    assert os.listdir(tmp_path) == ["m.h5"]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([torch.ones(1, 3, 4)], "1 of 2 references were written for torchvision:resnet18"),
        ([torch.ones(3, 3, 4)], r"shape \[3, 3, 4\] does not fit at reference 0 .* \[2, 3, 4\]"),
        ([torch.ones(2, 3, 4), torch.ones(1, 3, 4)], r"does not fit at reference 2"),
        ([torch.ones(2, 3, 5)], r"shape \[2, 3, 5\] does not fit"),
        (
            [torch.ones(1, 3, 4), torch.tensor([[[1, float("nan"), 1, 1]] * 3])],
            r"field of torchvision:resnet18 is not finite .* at reference 1 \(dog\)",
        ),
        ([torch.full((2, 3, 4), float("inf"))], r"not finite .* at reference 0 \(cat\)"),
    ],
)
def test_refused_blocks(blocks: list[Tensor], message: str, tmp_path: Path, header) -> None:
    with (
        pytest.raises(StoreError, match=message),
        FieldStore.create(tmp_path / "m.h5", header, ["cat", "dog"], (4,)) as writer,
    ):
        for block in blocks:
            writer.append(block)
    assert list(tmp_path.iterdir()) == []


def test_unknown_storage_is_refused(tmp_path: Path, header: FieldHeader) -> None:
    header = replace(header, storage="float8")  # type: ignore[arg-type]
    with (
        pytest.raises(StoreError, match="storage must be one of float32, .* got 'float8'"),
        FieldStore.create(tmp_path / "m.h5", header, ["a"], (4,)),
    ):
        pass


# Damage.


def flipped(path: Path, position: int, to: Path) -> Path:
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 1  # the slightest damage: text stays text
    to.write_bytes(damaged)
    return to


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["float32", "float16_scaled"])
def test_a_flipped_byte_is_noticed_or_harmless(
    storage, tmp_path: Path, header, write_store: Writer
) -> None:
    path = write_store(tmp_path / "m.h5", replace(header, storage=storage), random_field())
    original = contents(path)
    positions = random.Random(0).sample(range(path.stat().st_size), 300)
    unnoticed = []
    for position in positions:
        damaged = flipped(path, position, tmp_path / "damaged.h5")
        try:
            found = contents(damaged)
        except StoreError:
            continue
        if found[:2] != original[:2] or not torch.equal(found[2], original[2]):
            unnoticed.append(position)
    assert unnoticed == []


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["float32", "float16_scaled"])
def test_every_flipped_byte_of_the_data_is_noticed(
    storage, tmp_path: Path, header, write_store: Writer
) -> None:
    path = write_store(
        tmp_path / "m.h5", replace(header, storage=storage), random_field(2, 3, 2, 4)
    )
    with h5py.File(path) as file:
        data = [item for item in file.values() if isinstance(item, h5py.Dataset)]
        chunks = [
            item.id.get_chunk_info(i) for item in data for i in range(item.id.get_num_chunks())
        ]
    assert len(chunks) == (3 if storage == "float32" else 5)
    for chunk in chunks:
        for position in range(chunk.byte_offset, chunk.byte_offset + chunk.size):
            damaged = flipped(path, position, tmp_path / "damaged.h5")
            message = r"damaged\.h5: not a sound field store .* move it away and extract it again"
            with pytest.raises(StoreError, match=message):
                contents(damaged)


@pytest.mark.parametrize("length", [0, 100, 0.5, 0.99])
def test_a_cut_file_is_refused(length: float, tmp_path: Path, header, write_store: Writer) -> None:
    path = write_store(tmp_path / "m.h5", header, random_field())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(length if length > 1 else length * len(whole))])
    with pytest.raises(StoreError, match="not a sound field store"):
        contents(path)


def _foreign(file: h5py.File) -> None:
    del file["field"]


def _newer(file: h5py.File) -> None:
    file.attrs["schema_version"] = 2


def _unversioned(file: h5py.File) -> None:
    del file.attrs["schema_version"]


def _nameless(file: h5py.File) -> None:
    del file.attrs["target"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_foreign, "not a sound field store .*field"),
        (_newer, "expected a field store of schema version 1, got 2; extract it again"),
        (_unversioned, "expected a field store of schema version 1, got None"),
        (_nameless, "not a sound field store .*target"),
    ],
)
def test_other_hdf5_files_are_refused(
    change, message: str, tmp_path: Path, header, write_store: Writer
) -> None:
    path = write_store(tmp_path / "m.h5", header, random_field())
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(StoreError, match=rf"m\.h5: {message}"):
        FieldStore(path)


def test_what_is_no_hdf5_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.h5").write_text("a note")
    for path, message in [("m.h5", "not a sound field store"), ("n.h5", "no such field store")]:
        with pytest.raises(StoreError, match=rf"{path}: .*{message}"):
            FieldStore(tmp_path / path)
    with pytest.raises(StoreError, match="no such field store"):
        FieldStore(tmp_path)


# What may be compared.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("references_sha256", "ee" * 32),
        ("target", "output_sum"),
        ("baseline", "1.0"),
        ("rule", "riemann_left"),
        ("cumulative", False),
        ("scale_by_path", False),
    ],
)
def test_what_differs_is_named(name, value, tmp_path: Path, header, write_store: Writer) -> None:
    field = random_field()
    paths = [write_store(tmp_path / f"{i}.h5", header, field) for i in range(2)]
    paths.append(write_store(tmp_path / "odd.h5", replace(header, **{name: value}), field))
    stores = [FieldStore(path) for path in paths]
    check_comparable(stores[:2])
    message = rf"0\.h5 and .*odd\.h5 cannot be compared: their {name} differ, .*{value!r}\. Extract"
    with pytest.raises(StoreError, match=message):
        check_comparable(stores)
    for store in stores:
        store.close()


def test_unlike_steps_references_and_shapes_are_named(
    tmp_path: Path, header, write_store: Writer
) -> None:
    stores = [
        FieldStore(write_store(tmp_path / "0.h5", header, random_field())),
        FieldStore(
            write_store(tmp_path / "1.h5", replace(header, n_steps=2), random_field(5, 2, 4))
        ),
        FieldStore(write_store(tmp_path / "2.h5", header, random_field(5, 3, 8))),
        FieldStore(write_store(tmp_path / "3.h5", header, random_field(4, 3, 2, 4))),
    ]
    for store, message in zip(
        stores[1:],
        ["n_steps differ, 3 and 2", r".* and \[5, 3, 8\]", "references differ"],
        strict=True,
    ):
        with pytest.raises(StoreError, match=message):
            check_comparable([stores[0], store])
    for store in stores:
        store.close()


def test_models_precision_and_storage_may_differ(
    tmp_path: Path, header, write_store: Writer
) -> None:
    other = replace(
        header,
        model="other",
        weights_sha256="ff" * 32,
        dtype="float64",
        storage="float16_scaled",
        config_sha256="aa" * 32,
        versions={"torch": "9.9"},
    )
    paths = [
        write_store(tmp_path / f"{i}.h5", h, random_field()) for i, h in enumerate((header, other))
    ]
    with FieldStore(paths[0]) as first, FieldStore(paths[1]) as second:
        check_comparable([first, second])
        check_comparable([first])
