"""Hostile weights: pickles that run code, bombs of memory and time, and crooked safetensors."""

import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.support import hostile_pickles as pickles
from tests.support.hostile_kind import Hostile
from tests.support.hostile_pickles import in_older_format, text, zipped

TERABYTE = 2**40
ONES = {"w": torch.ones(4)}


def hostile_weights() -> Iterator[Hostile]:
    """Every file of this kind."""
    for name, shape in pickles.SHAPES.items():
        says = "it asks for|it uses"
        load = pickles.load_ordinarily

        def raw(folder: Path, mark: Path, shape: Any = shape, name: str = name) -> Path:
            path = folder / f"{name}.pt"
            path.write_bytes(shape(str(mark)))
            return path

        def archived(folder: Path, mark: Path, shape: Any = shape, name: str = name) -> Path:
            return zipped(folder / f"{name}.zip.pth", shape(str(mark)))

        yield Hostile(f"pickle_{name}", "weights", says, raw, load)
        yield Hostile(f"archive_{name}", "weights", says, archived, load)
    for make, says, ignite in [
        (saved_reduce, "it asks for", pickles.load_with_torch),
        (
            saved_module,
            r"it asks for .*\.hostile_pickles\.Trojan",
            pickles.load_with_torch,
        ),
        (older_format, "it asks for posix.mkdir", pickles.load_ordinarily),
        (older_format_keys, "it asks for posix.mkdir", pickles.load_ordinarily),
        (tar_of_torch_0, "it is not a complete pickle", pickles.load_ordinarily),
        (traversing_records, "not in one folder", pickles.load_ordinarily),
        (two_pickles_of_one_name, "two records with the same name", pickles.load_ordinarily),
        (zip_before_the_zip, "before its first record|does not end|not a file", None),
        (zip_in_a_zip, "it is not a complete pickle", None),
        (torchscript, "TorchScript", None),
        (inflating_record, "compressed", None),
        (overlapping_records, "compressed, or overlap|not a complete archive", None),
        (wrong_checksum, "does not have its checksum", None),
        (storage_of_a_terabyte, "size|RuntimeError", None),
        (older_storage_of_a_terabyte, "in .* bytes", None),
        (view_of_a_terabyte, "claims .* bytes of weights", None),
        (meta_tensor, "_rebuild_meta_tensor_no_storage", None),
        (sparse_tensor, "_rebuild_sparse_tensor", None),
        (bytearray_bomb, "bytearray", None),
        (encoded_bomb, "_codecs.encode with", None),
        (hash_bomb, "keys other than", None),
        (set_bomb, "keys other than", None),
        (counter_bomb, "keys other than|not pairs|calls or fills", None),
        (million_records, "list of records takes", None),
        (endless_opcodes, "more than 1,000,000 opcodes", None),
        (text_of_a_terabyte, "not a complete pickle", None),
        (truncated_archive, "does not end", None),
        (empty_pickle, "not a complete pickle", None),
    ]:
        yield Hostile(make.__name__, "weights", says, make, ignite)
    for make, says in [
        (header_of_a_terabyte, "header should have"),
        (huge_header, "header has"),
        (nested_header, "unreadable: RecursionError"),
        (too_many_tensors, "at most 100,000 tensors"),
        (overlapping_tensors, "offset"),
        (offsets_past_the_end, "header|buffer|incomplete"),
        (wrong_dtype, "dtype|variant|json"),
        (wrong_extent, "header|offset|invalid"),
        (overflowing_shape, "overflow|header|invalid"),
        (negative_shape, "header|invalid"),
        (one_name_twice, "(stands there|appears) twice"),
        (truncated_safetensors, "header|incomplete"),
        (empty_safetensors, "header should have 0 bytes, and the file has 0"),
        (device, "not a regular file"),
        (pipe, "not a regular file"),
        (folder_for_a_file, "not a regular file"),
        (loop_of_links, "not a regular file"),
        (link_to_a_secret, "not a complete safetensors"),
    ]:
        yield Hostile(make.__name__, "weights", says, make)


# Code


def saved_reduce(folder: Path, mark: Path) -> Path:
    torch.save({"w": pickles.Reduced(str(mark))}, folder / "x.pt")
    return folder / "x.pt"


def saved_module(folder: Path, mark: Path) -> Path:
    torch.save(pickles.Trojan(str(mark)), folder / "x.bin")
    return folder / "x.bin"


def older_format(folder: Path, mark: Path) -> Path:
    return in_older_format(folder / "x.pt", pickles.SHAPES["reduce"](str(mark)))


def older_format_keys(folder: Path, mark: Path) -> Path:
    keys = b"\x80\x02" + pickles.call(str(mark)) + b"."
    return in_older_format(folder / "x.pt", pickle.dumps({}, protocol=2), keys)


def tar_of_torch_0(folder: Path, mark: Path) -> Path:
    bomb = folder / "bomb"
    bomb.write_bytes(pickles.SHAPES["reduce"](str(mark)))
    with tarfile.open(folder / "x.pt", "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.add(bomb, name)
    return folder / "x.pt"


def traversing_records(folder: Path, mark: Path) -> Path:
    with zipfile.ZipFile(folder / "x.pt", "w") as archive:
        archive.writestr("../../x/data.pkl", pickles.SHAPES["reduce"](str(mark)))
    return folder / "x.pt"


def two_pickles_of_one_name(folder: Path, mark: Path) -> Path:
    with zipfile.ZipFile(folder / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("x/DATA.pkl", pickles.SHAPES["reduce"](str(mark)))
    return folder / "x.pt"


def zip_before_the_zip(folder: Path, mark: Path) -> Path:
    first = zipped(folder / "a.pt", pickles.SHAPES["reduce"](str(mark))).read_bytes()
    torch.save(ONES, folder / "b.pt")
    (folder / "x.pt").write_bytes(first + (folder / "b.pt").read_bytes())
    return folder / "x.pt"


def zip_in_a_zip(folder: Path, mark: Path) -> Path:
    inner = zipped(folder / "inner.pt", pickles.SHAPES["reduce"](str(mark))).read_bytes()
    return zipped(folder / "x.pt", inner, data__0=inner)


def torchscript(folder: Path, _mark: Path) -> Path:
    return _with(folder / "x.pt", {"x/data.pkl": pickle.dumps({}, 2), "x/constants.pkl": b"."})


# Memory and time


def inflating_record(folder: Path, _mark: Path) -> Path:
    """Four gigabytes of zeros in four megabytes."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = squeezer.compress(bytes(2**24)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    count = 255
    content = piece * count + squeezer.flush()
    state = state_pickle(2**24 * count // 4)
    records = [("x/data.pkl", 0, state, len(state)), ("x/version", 0, b"3\n", 2)]
    return _raw_zip(folder / "x.pt", [*records, ("x/data/0", 8, content, 2**24 * count)])


def overlapping_records(folder: Path, _mark: Path) -> Path:
    path = _with(folder / "x.pt", {"x/data.pkl": state_pickle(2**20), "x/data/0": bytes(2**22)})
    content = bytearray(path.read_bytes())
    start = content.rfind(b"PK\x01\x02")
    entry = bytes(content[start : content.rfind(b"PK\x05\x06")])
    more = b"".join(entry.replace(b"x/data/0", b"x/data/%d" % i) for i in range(1, 10))
    end = bytearray(content[content.rfind(b"PK\x05\x06") :])
    (size,) = struct.unpack_from("<L", end, 12)
    struct.pack_into("<HHL", end, 8, 11, 11, size + len(more))
    path.write_bytes(bytes(content[: content.rfind(b"PK\x05\x06")]) + more + bytes(end))
    return path


def wrong_checksum(folder: Path, _mark: Path) -> Path:
    torch.save(ONES, folder / "x.pt")
    content = bytearray((folder / "x.pt").read_bytes())
    content[content.find(struct.pack("<4f", 1, 1, 1, 1))] ^= 1
    (folder / "x.pt").write_bytes(content)
    return folder / "x.pt"


def state_pickle(count: int, shape: int | None = None, stride: int = 1) -> bytes:
    """The pickle of ``{"w": tensor}``, whose storage is said to hold `count` numbers."""
    return (
        b"\x80\x02}" + text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage")
        + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + _long(count) + b"tQK\x00"
        + _long(count if shape is None else shape) + b"\x85" + _long(stride) + b"\x85"
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )  # fmt: skip


def _long(value: int) -> bytes:
    digits = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits


def storage_of_a_terabyte(folder: Path, _mark: Path) -> Path:
    return zipped(folder / "x.pt", state_pickle(TERABYTE), data__0=bytes(16))


def older_storage_of_a_terabyte(folder: Path, _mark: Path) -> Path:
    older = state_pickle(TERABYTE).replace(_long(TERABYTE) + b"tQ", _long(TERABYTE) + b"NtQ")
    return in_older_format(folder / "x.pt", older, pickle.dumps(["0"], protocol=2))


def view_of_a_terabyte(folder: Path, _mark: Path) -> Path:
    return zipped(folder / "x.pt", state_pickle(4, TERABYTE, stride=0), data__0=bytes(16))


def meta_tensor(folder: Path, _mark: Path) -> Path:
    torch.save({"w": torch.empty(TERABYTE, device="meta")}, folder / "x.pt")
    return folder / "x.pt"


def sparse_tensor(folder: Path, _mark: Path) -> Path:
    indices = torch.tensor([[TERABYTE - 1]])
    torch.save(
        {"w": torch.sparse_coo_tensor(indices, torch.ones(1), (TERABYTE,), check_invariants=True)},
        folder / "x.pt",
    )
    return folder / "x.pt"


def bytearray_bomb(folder: Path, _mark: Path) -> Path:
    bomb = b"\x80\x02cbuiltins\nbytearray\n" + _long(3 * 2**30) + b"\x85R."
    return zipped(folder / "x.pt", bomb)


def encoded_bomb(folder: Path, _mark: Path) -> Path:
    """Each encoding doubles the text: 32 of them make 4 GiB of one byte."""
    encode, n = b"c_codecs\nencode\n", 32
    bomb = encode * n + text("a") + text("latin1") + b"\x86R"
    bomb += (text("hex_codec") + b"\x86R") * (n - 1)
    return zipped(folder / "x.pt", b"\x80\x02" + bomb + b".")


def _laughing_tuple() -> bytes:
    """A tuple of two tuples of two tuples …, 60 deep, which takes 2⁶⁰ steps to hash."""
    return b")" + b"".join(b"q%cq%ch%c\x86" % (i, i, i) for i in range(60))


def hash_bomb(folder: Path, _mark: Path) -> Path:
    return zipped(folder / "x.pt", b"\x80\x02}" + _laughing_tuple() + b"K\x01s.")


def set_bomb(folder: Path, _mark: Path) -> Path:
    bomb = b"\x80\x02cbuiltins\nset\n]" + _laughing_tuple() + b"a\x85R."
    return zipped(folder / "x.pt", bomb)


def counter_bomb(folder: Path, _mark: Path) -> Path:
    bomb = b"\x80\x02ccollections\nCounter\n]" + _laughing_tuple() + b"a\x85R."
    return zipped(folder / "x.pt", bomb)


def million_records(folder: Path, _mark: Path) -> Path:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", *[0] * 4, *[0] * 4, *[0] * 3, 1, *[0] * 6)
    body = b"PK\x03\x04" + bytes(60)
    count = 2**18
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, (len(entry) + 1) * count,
                      len(body), 0)  # fmt: skip
    (folder / "x.pt").write_bytes(body + (entry + b"a") * count + end)
    return folder / "x.pt"


def endless_opcodes(folder: Path, _mark: Path) -> Path:
    return zipped(folder / "x.pt", b"\x80\x02" + b"]q\x00" * 2_000_000 + b".")


def text_of_a_terabyte(folder: Path, _mark: Path) -> Path:
    return zipped(folder / "x.pt", b"\x80\x04\x8d" + struct.pack("<Q", TERABYTE) + b"abc.")


def truncated_archive(folder: Path, _mark: Path) -> Path:
    torch.save(ONES, folder / "x.pt")
    content = (folder / "x.pt").read_bytes()
    (folder / "x.pt").write_bytes(content[: len(content) * 2 // 3])
    return folder / "x.pt"


def empty_pickle(folder: Path, _mark: Path) -> Path:
    (folder / "x.pt").touch()
    return folder / "x.pt"


def _with(path: Path, records: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, record in records.items():
            archive.writestr(name, record)
    return path


def _raw_zip(path: Path, records: list[tuple[str, int, bytes, int]]) -> Path:
    """An archive of records (name, method, content, size said), with no checksums."""
    listed = b""
    with path.open("wb") as file:
        for name, method, content, size in records:
            shared = struct.pack(
                "<5H3L2H",
                20,
                0,
                method,
                0,
                0,
                zlib.crc32(content),
                len(content),
                size,
                len(name),
                0,
            )
            start = file.tell()
            file.write(b"PK\x03\x04" + shared + name.encode() + content)
            listed += b"PK\x01\x02" + struct.pack("<H", 20) + shared
            listed += struct.pack("<3H2L", 0, 0, 0, 0, start) + name.encode()
        end = [0, 0, len(records), len(records), len(listed), file.tell(), 0]
        file.write(listed + b"PK\x05\x06" + struct.pack("<4H2LH", *end))
    return path


# Safetensors and links


def safetensors(folder: Path, header: Any, body: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    start = struct.pack("<Q", len(text) if length is None else length)
    (folder / "x.safetensors").write_bytes(start + text + body)
    return folder / "x.safetensors"


def entry(shape: list[int], *offsets: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


def header_of_a_terabyte(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, {}, length=TERABYTE)


def huge_header(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, b" " * (90 * 2**20))


def nested_header(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, b'{"a":' * 10**6)


def too_many_tensors(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, {f"{i:x}": entry([0], 0, 0) for i in range(200_000)})


def overlapping_tensors(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, {"a": entry([4], 0, 16), "b": entry([4], 8, 24)}, bytes(24))


def offsets_past_the_end(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, {"a": entry([2**38], 0, TERABYTE)}, bytes(16))


def wrong_dtype(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, {"a": entry([4], 0, 16, dtype="OBJECT")}, bytes(16))


def wrong_extent(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, {"a": entry([5], 0, 16)}, bytes(16))


def overflowing_shape(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, {"a": entry([2**62, 4], 0, 0)})


def negative_shape(folder: Path, _mark: Path) -> Path:
    return safetensors(folder, {"a": entry([-1, -4], 0, 16)}, bytes(16))


def one_name_twice(folder: Path, _mark: Path) -> Path:
    first, second = (json.dumps(entry([2], 8 * i, 8 * i + 8)) for i in range(2))
    return safetensors(folder, f'{{"a":{first},"a":{second}}}'.encode(), bytes(16))


def truncated_safetensors(folder: Path, _mark: Path) -> Path:
    save_file(ONES, folder / "x.safetensors")
    content = (folder / "x.safetensors").read_bytes()
    (folder / "x.safetensors").write_bytes(content[:-5])
    return folder / "x.safetensors"


def empty_safetensors(folder: Path, _mark: Path) -> Path:
    (folder / "x.safetensors").touch()
    return folder / "x.safetensors"


def device(folder: Path, _mark: Path) -> Path:
    return link(folder / "x.safetensors", Path("/dev/zero"))


def pipe(folder: Path, _mark: Path) -> Path:
    os.mkfifo(folder / "x.pt")
    return folder / "x.pt"


def folder_for_a_file(folder: Path, _mark: Path) -> Path:
    (folder / "x.safetensors").mkdir()
    return folder / "x.safetensors"


def loop_of_links(folder: Path, _mark: Path) -> Path:
    link(folder / "y.pt", folder / "x.pt")
    return link(folder / "x.pt", folder / "y.pt")


def link_to_a_secret(folder: Path, _mark: Path) -> Path:
    (folder / "secret").write_text("the-secret-words " * 100)
    return link(folder / "x.safetensors", folder / "secret")


def link(path: Path, target: Path) -> Path:
    path.symlink_to(target)
    return path
