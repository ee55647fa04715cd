"""Hostile configurations, records, references, sealed files, snapshots and images."""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from modelgif.references.file import write_references
from modelgif.references.references import References
from modelgif.storage.tensor_file import write_sealed
from tests.support import hostile_pickles as pickles
from tests.support.hostile_kind import Hostile, Maker

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)
)


def hostile_texts() -> Iterator[Hostile]:
    """Every file of this kind."""
    for name, text, says in [
        ("tag", 'target: !!python/object/apply:os.mkdir ["{mark}"]', "tag is not allowed"),
        ("tag_of_a_name", "target: !!python/name:os.system", "tag is not allowed"),
        ("anchors", LAUGHS, "anchor is not allowed"),
        ("merge", "<<: {target: x}", "<<: unknown key"),
        ("deep_nesting", "[" * 20_000, "nested too deeply"),
        ("deep_mapping", "{a: " * 20_000, "nested too deeply"),
        ("long_number", "n_steps: " + "9" * 10_000, "digits"),
        ("infinite", "baseline: 1e999", "finite|number"),
        ("control_characters", "target: a\x00b", "unreadable YAML"),
        ("huge", "target: x\n" + "# a comment\n" * 200_000, "at most"),
        ("two_documents", "target: a\n---\ntarget: b\n", "unreadable YAML"),
        ("key_twice", "target: a\ntarget: b\n", "appears twice"),
        ("list", "- a\n", "must be a mapping"),
    ]:
        yield Hostile(f"config_{name}", "config", says, _text("x.yaml", text))
    yield Hostile("config_of_bytes", "config", "UTF-8", _bytes("x.yaml", b"\xff\xfe"))
    yield Hostile("config_without_end", "config", "not a regular file", _device("x.yaml"))
    columns = "testbed,config,method,subject,quantity,value,n,spread,seed,commit\n"
    for name, text, says in [
        ("nan", f"{columns}a,b,c,d,e,nan,1,,0,x\n", "must be finite"),
        ("infinite", f"{columns}a,b,c,d,e,1e999,1,,0,x\n", "must be finite"),
        ("quote_without_end", f'{columns}a,b,c,d,"e', "unexpected end|line"),
        ("long_cell", f"{columns}{'a' * 200_000},b,c,d,e,1,1,,0,x\n", "field larger"),
        ("long_number", f"{columns}a,b,c,d,e,1,1,,{'9' * 10_000},x\n", "digits"),
        ("nul", f"{columns}a,b,c,d,e,1\x00,1,,0,x\n", "line"),
    ]:
        yield Hostile(f"records_{name}", "records", says, _text("x.csv", text))
    for make, says in [
        (references_of_one_id, "holds no references"),
        (references_of_text, "holds no references"),
        (references_of_whole_numbers, "holds no references"),
        (references_without_numbers, "holds no references"),
        (references_deep, "holds no references"),
        (references_huge_header, "holds no references"),
        (references_not_finite, "finite"),
        (references_of_terabytes, "holds no references"),
        (references_without_end, "not a regular file"),
    ]:
        yield Hostile(make.__name__, "references", says, make)
    for make, says in [
        (sealed_list, "not a sound sketch"),
        (sealed_deep, "not a sound sketch"),
        (sealed_huge_header, "not a sound sketch"),
        (sealed_other_kind, "expected a sketch, got"),
        (sealed_changed, "damaged"),
        (sealed_without_end, "not a regular file"),
    ]:
        yield Hostile(make.__name__, "sealed", says, make)
    load = pickles.load_with_torch
    yield Hostile("snapshot_of_code", "snapshot", "it asks for", snapshot_of_code, load)
    yield Hostile("snapshot_cut", "snapshot", "move it away", snapshot_cut)
    yield Hostile("export_of_code", "export", "can run any code", export_of_code)
    for make, says in [
        (image_of_gigapixels, "not a valid image"),
        (image_of_megapixels, "not a valid image"),
        (image_inflating_text, "not a valid image"),
        (image_cut, "not a valid image"),
    ]:
        yield Hostile(make.__name__, "image", says, make)


def _text(name: str, text: str) -> Maker:
    def make(folder: Path, mark: Path) -> Path:
        (folder / name).write_text(text.replace("{mark}", str(mark)))
        return folder / name

    return make


def _bytes(name: str, content: bytes) -> Maker:
    def make(folder: Path, _mark: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _device(name: str) -> Maker:
    def make(folder: Path, _mark: Path) -> Path:
        (folder / name).symlink_to("/dev/zero")
        return folder / name

    return make


def references_without_end(folder: Path, mark: Path) -> Path:
    return _device("x.safetensors")(folder, mark)


def sealed_without_end(folder: Path, mark: Path) -> Path:
    return _device("x.sketch")(folder, mark)


def _references(folder: Path, images: torch.Tensor, ids: Any, digest: str = "0" * 64) -> Path:
    metadata = {"ids": ids if isinstance(ids, str) else json.dumps(ids)}
    save_file(
        {"images": images}, folder / "x.safetensors", metadata | {"references_sha256": digest}
    )
    return folder / "x.safetensors"


def references_of_one_id(folder: Path, _mark: Path) -> Path:
    return _references(folder, torch.rand(3, 1, 4, 4), ["a", "a", "a"])


def references_of_text(folder: Path, _mark: Path) -> Path:
    return _references(folder, torch.rand(3, 1, 4, 4), "abc" * 1000)


def references_of_whole_numbers(folder: Path, _mark: Path) -> Path:
    images = torch.ones(3, 1, 4, 4, dtype=torch.int64)
    return _references(folder, images, ["a", "b", "c"])


def references_without_numbers(folder: Path, _mark: Path) -> Path:
    return _references(folder, torch.rand(3, 0), ["a", "b", "c"])


def references_deep(folder: Path, _mark: Path) -> Path:
    return _references(folder, torch.rand(3, 1, 4, 4), "[" * 10**6)


def references_huge_header(folder: Path, _mark: Path) -> Path:
    return _references(folder, torch.rand(3, 1, 4, 4), "x" * (60 * 2**20))


def references_not_finite(folder: Path, _mark: Path) -> Path:
    images = torch.rand(3, 1, 4, 4)
    images[1, 0, 2, 2] = torch.nan
    write_references(folder / "x.safetensors", References(images, ("a", "b", "c")))
    return folder / "x.safetensors"


def references_of_terabytes(folder: Path, _mark: Path) -> Path:
    """A million billion references of no pixels."""
    metadata = {"ids": '["a"]', "references_sha256": "0" * 64}
    entry = {"dtype": "F32", "shape": [2**50, 0, 4, 4], "data_offsets": [0, 0]}
    header = json.dumps({"__metadata__": metadata, "images": entry}).encode()
    (folder / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder / "x.safetensors"


def _sealed(folder: Path, seal: str) -> Path:
    save_file({"a": torch.ones(2)}, folder / "x.sketch", {"seal": seal})
    return folder / "x.sketch"


def sealed_list(folder: Path, _mark: Path) -> Path:
    return _sealed(folder, "[]")


def sealed_deep(folder: Path, _mark: Path) -> Path:
    return _sealed(folder, '{"kind":' * 10**5)


def sealed_huge_header(folder: Path, _mark: Path) -> Path:
    return _sealed(folder, "x" * (60 * 2**20))


def sealed_other_kind(folder: Path, _mark: Path) -> Path:
    write_sealed(folder / "x.sketch", "checkpoint of a comparison", {}, {"a": torch.ones(2)})
    return folder / "x.sketch"


def sealed_changed(folder: Path, _mark: Path) -> Path:
    write_sealed(folder / "x.sketch", "sketch", {"size": 2}, {"a": torch.ones(2)})
    content = (folder / "x.sketch").read_bytes()
    (folder / "x.sketch").write_bytes(content[:-1] + b"\x40")
    return folder / "x.sketch"


def snapshot_of_code(folder: Path, mark: Path) -> Path:
    torch.save({"weights": pickles.Reduced(str(mark))}, folder / "snapshot.pt")
    return folder / "snapshot.pt"


def snapshot_cut(folder: Path, _mark: Path) -> Path:
    torch.save({"weights": {}}, folder / "snapshot.pt")
    os.truncate(folder / "snapshot.pt", 300)
    return folder / "snapshot.pt"


def export_of_code(folder: Path, mark: Path) -> Path:
    return pickles.zipped(folder / "x.pt2", pickles.SHAPES["reduce"](str(mark)))


def _png(path: Path, width: int, height: int, *chunks: tuple[bytes, bytes]) -> Path:
    header = struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0)
    squeezer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    pixels = b"".join(squeezer.compress(row) for _ in range(height)) if height < 20_000 else b""
    content = b"\x89PNG\r\n\x1a\n"
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels + squeezer.flush()), (b"IEND", b"")]
    for kind, body in parts:
        content += struct.pack(">L", len(body)) + kind + body
        content += struct.pack(">L", zlib.crc32(kind + body))
    path.write_bytes(content)
    return path


def image_of_gigapixels(folder: Path, _mark: Path) -> Path:
    return _png(folder / "x.png", 60_000, 60_000)


def image_of_megapixels(folder: Path, _mark: Path) -> Path:
    """160 million pixels: within what Pillow reads without complaint, 2 GB as float32."""
    return _png(folder / "x.png", 12_000, 13_000)


def image_inflating_text(folder: Path, _mark: Path) -> Path:
    return _png(folder / "x.png", 8, 8, (b"zTXt", b"k\0\0" + zlib.compress(bytes(2**28), 9)))


def image_cut(folder: Path, _mark: Path) -> Path:
    path = _png(folder / "x.png", 64, 64)
    path.write_bytes(path.read_bytes()[:60])
    return path
