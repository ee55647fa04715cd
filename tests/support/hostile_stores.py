"""Hostile field stores: HDF5 that points elsewhere, claims terabytes, or is no store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from modelgif.storage.field_header import FieldHeader
from modelgif.storage.field_store import FieldStore
from tests.support.hostile_kind import Hostile, Maker

HEADER = FieldHeader(
    model="victim",
    weights_sha256="ab" * 32,
    target="predicted_class",
    baseline="0.0",
    rule="gausslegendre",
    n_steps=3,
    cumulative=True,
    scale_by_path=True,
    dtype="float32",
    storage="float32",
    references_sha256="cd" * 32,
    config_sha256="",
    versions={"torch": "2.0"},
)
SHAPE = (4, 3, 2, 5)


def honest_store(path: Path) -> Path:
    with FieldStore.create(path, HEADER, [f"r{i}" for i in range(4)], SHAPE[2:]) as writer:
        writer.append(torch.arange(120.0).reshape(SHAPE))
    return path


def hostile_stores() -> Iterator[Hostile]:
    """Every file of this kind."""
    for change, says in [
        (external_link, "field is missing, or a link to elsewhere"),
        (soft_link, "field is missing, or a link to elsewhere"),
        (link_to_itself, "field is missing, or a link to elsewhere"),
        (virtual_data, "not stored in chunks of this file"),
        (bytes_of_another_file, "not stored in chunks of this file"),
        (group_for_a_field, "field is not a data set"),
        (unwritten_terabytes, "needs .* bytes"),
        (unwritten_names, "needs .* bytes"),
        (inflating_chunk, "checksums"),
        (foreign_filter, "checksums"),
        (no_checksums, "checksums"),
        (growing_field, "field is float32"),
        (chunks_of_all, r"is not \[N, S"),
        (names_of_any_length, "checksums"),
        (too_few_names, "names do not fit"),
        (field_of_pairs, "field is"),
        (huge_attribute, "not a plain value|not a sound"),
        (attribute_of_references, "not a plain value"),
        (deep_versions, "recursion"),
        (list_of_versions, "its versions is"),
        (other_steps, "not what its header says"),
        (scales_for_none, "not what its header says|scales"),
        (steps_of_text, "n_steps"),
        (many_steps, "not what its header says"),
        (version_of_text, "schema version 1, got"),
    ]:
        yield Hostile(f"store_{change.__name__}", "store", says, _changed(change))
    for make, says in [
        (truncated, "not a sound field store"),
        (cut_short_by_a_byte, "not a sound field store"),
        (text_for_a_store, "not a sound field store"),
        (empty_store, "not a sound field store"),
        (device_for_a_store, "not a regular file"),
        (folder_for_a_store, "not a regular file"),
    ]:
        yield Hostile(f"store_{make.__name__}", "store", says, make)


def _changed(change: Callable[[h5py.File, Path], None]) -> Maker:
    def make(folder: Path, _mark: Path) -> Path:
        path = honest_store(folder / "x.h5")
        with h5py.File(path, "r+", libver="latest") as file:
            change(file, folder)
        return path

    return make


def external_link(file: h5py.File, folder: Path) -> None:
    honest_store(folder / "other.h5")
    del file["field"]
    file["field"] = h5py.ExternalLink("other.h5", "field")


def soft_link(file: h5py.File, _folder: Path) -> None:
    file.move("field", "elsewhere")
    file["field"] = h5py.SoftLink("/elsewhere")


def link_to_itself(file: h5py.File, _folder: Path) -> None:
    del file["field"]
    file["field"] = h5py.SoftLink("/field")


def virtual_data(file: h5py.File, folder: Path) -> None:
    honest_store(folder / "other.h5")
    del file["field"]
    layout = h5py.VirtualLayout(SHAPE, np.float32)
    layout[:] = h5py.VirtualSource(folder / "other.h5", "field", SHAPE)
    file.create_virtual_dataset("field", layout)


def bytes_of_another_file(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(b"the-secret-words" * 100)
    del file["field"]
    file.create_dataset("field", SHAPE, np.float32, external=[(str(folder / "secret"), 0, 480)])


def group_for_a_field(file: h5py.File, _folder: Path) -> None:
    del file["field"]
    file.create_group("field")


def _replace(file: h5py.File, name: str, shape: tuple[int, ...], dtype: object, **options) -> None:
    del file[name]
    chunks = (1, *shape[1:]) if name == "field" else shape
    file.create_dataset(name, shape, dtype, **{"chunks": chunks, "fletcher32": True} | options)


def unwritten_terabytes(file: h5py.File, _folder: Path) -> None:
    _replace(file, "field", (2**30, 3, 2, 5), np.float32)


def unwritten_names(file: h5py.File, _folder: Path) -> None:
    _replace(file, "reference_id", (4,), "S500000000")


def inflating_chunk(file: h5py.File, _folder: Path) -> None:
    _replace(file, "field", (4, 3, 2**24), np.float32, compression="gzip", compression_opts=1)
    file["field"][0] = 0


def foreign_filter(file: h5py.File, _folder: Path) -> None:
    _replace(file, "field", SHAPE, np.float32, compression="lzf")
    file["field"][:] = 1


def no_checksums(file: h5py.File, _folder: Path) -> None:
    _replace(file, "field", SHAPE, np.float32, fletcher32=False)


def growing_field(file: h5py.File, _folder: Path) -> None:
    _replace(file, "field", SHAPE, np.float32, maxshape=(None, *SHAPE[1:]))
    file["field"][:] = 1


def chunks_of_all(file: h5py.File, _folder: Path) -> None:
    _replace(file, "field", SHAPE, np.float32, chunks=SHAPE)
    file["field"][:] = 1


def names_of_any_length(file: h5py.File, _folder: Path) -> None:
    _replace(file, "reference_id", (4,), h5py.string_dtype(), fletcher32=False)
    file["reference_id"][:] = "x" * 100


def too_few_names(file: h5py.File, _folder: Path) -> None:
    _replace(file, "reference_id", (3,), "S2")
    file["reference_id"][:] = b"r0"


def field_of_pairs(file: h5py.File, _folder: Path) -> None:
    _replace(file, "field", SHAPE, np.dtype([("a", "f4"), ("b", "f4")]))


def huge_attribute(file: h5py.File, _folder: Path) -> None:
    del file.attrs["target"]
    file.attrs["target"] = np.bytes_(b"x" * 2**27)


def attribute_of_references(file: h5py.File, _folder: Path) -> None:
    file.attrs["model"] = np.array([file.ref] * 10, dtype=h5py.ref_dtype)


def deep_versions(file: h5py.File, _folder: Path) -> None:
    file.attrs["versions"] = np.bytes_(b"[" * 60_000)


def list_of_versions(file: h5py.File, _folder: Path) -> None:
    file.attrs["versions"] = np.bytes_(b"[]")


def other_steps(file: h5py.File, _folder: Path) -> None:
    file.attrs["n_steps"] = 50


def scales_for_none(file: h5py.File, _folder: Path) -> None:
    file.create_dataset("scale", SHAPE[:2], np.float32, chunks=(1, 3), fletcher32=True)
    file["scale"][:] = np.inf


def steps_of_text(file: h5py.File, _folder: Path) -> None:
    file.attrs["n_steps"] = np.bytes_(b"three")


def many_steps(file: h5py.File, _folder: Path) -> None:
    file.attrs["n_steps"] = 2**62


def version_of_text(file: h5py.File, _folder: Path) -> None:
    file.attrs["schema_version"] = np.bytes_(b"1")


def truncated(folder: Path, _mark: Path) -> Path:
    path = honest_store(folder / "x.h5")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def cut_short_by_a_byte(folder: Path, _mark: Path) -> Path:
    path = honest_store(folder / "x.h5")
    path.write_bytes(path.read_bytes()[:-1])
    return path


def text_for_a_store(folder: Path, _mark: Path) -> Path:
    (folder / "x.h5").write_text("no HDF5 at all")
    return folder / "x.h5"


def empty_store(folder: Path, _mark: Path) -> Path:
    (folder / "x.h5").touch()
    return folder / "x.h5"


def device_for_a_store(folder: Path, _mark: Path) -> Path:
    (folder / "x.h5").symlink_to("/dev/zero")
    return folder / "x.h5"


def folder_for_a_store(folder: Path, _mark: Path) -> Path:
    (folder / "x.h5").mkdir()
    return folder / "x.h5"
