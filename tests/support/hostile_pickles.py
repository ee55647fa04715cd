"""Pickles that run code when they are loaded, in every way a pickle can; they make a folder."""

import copyreg
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

EXTENSION = 240
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


class Fuse:
    """Goes off when it is made."""

    def __new__(cls, path: str) -> "Fuse":
        Path(path).mkdir()
        return super().__new__(cls)


class Trojan(nn.Module):
    """A module that goes off when its state is put back."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def __setstate__(self, state: Any) -> None:
        Path(state if isinstance(state, str) else state["path"]).mkdir()
        super().__setstate__({})


class Reduced:
    """Goes off by its own ``__reduce__``."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (Path(self.path),)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def short(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


MKDIR = b"cposix\nmkdir\n"
HERE = f"c{__name__}\n".encode()


def call(path: str) -> bytes:
    """``posix.mkdir(path)``, without the end of a pickle."""
    return MKDIR + text(path) + b"\x85R"


# Whole pickles by the opcodes that set them off.
SHAPES: dict[str, Callable[[str], bytes]] = {
    "reduce": lambda p: b"\x80\x02" + call(p) + b".",
    "reduce_protocol_0": lambda p: MKDIR + b"(V" + p.encode() + b"\ntR.",
    "stack_global": lambda p: (
        b"\x80\x04" + short("posix") + short("mkdir") + b"\x93" + text(p) + b"\x85R."
    ),
    "stack_global_by_memo": lambda p: (
        b"\x80\x04" + short("mkdir") + b"\x94" + short("posix") + b"h\x00\x93" + text(p) + b"\x85R."
    ),
    "inst": lambda p: b"(V" + p.encode() + b"\niposix\nmkdir\n.",
    "obj": lambda p: b"(" + MKDIR + text(p) + b"o.",
    "newobj": lambda p: b"\x80\x02" + HERE + b"Fuse\n" + text(p) + b"\x85\x81.",
    "newobj_ex": lambda p: b"\x80\x04" + HERE + b"Fuse\n)}" + text("path") + text(p) + b"s\x92.",
    "build": lambda p: b"\x80\x02" + HERE + b"Trojan\n)\x81" + text(p) + b"b.",
    "extension": lambda p: b"\x80\x02\x82" + bytes([EXTENSION]) + text(p) + b"\x85R.",
    "persistent_id": lambda p: b"\x80\x02" + call(p) + b"Q.",
    "persistent_id_nested": lambda p: b"".join(
        [
            b"\x80\x02(",
            text("storage"),
            b"ctorch\nFloatStorage\n",
            call(p),
            text("cpu"),
            b"K\x01tQ.",
        ]
    ),
    "getattr_chain": lambda p: b"".join(
        [
            *[b"\x80\x02cbuiltins\ngetattr\ncimportlib\nimport_module\n", text("os"), b"\x85R"],
            *[text("mkdir"), b"\x86R", text(p), b"\x85R."],
        ]
    ),
    "exec": lambda p: (
        b"\x80\x02cbuiltins\nexec\n" + text(f"import os; os.mkdir({p!r})") + b"\x85R."
    ),
    "deep_in_a_dictionary": lambda p: (
        b"\x80\x02}(" + text("state_dict") + b"}" + text("weight") + call(p) + b"su."
    ),
    "by_torch_itself": lambda p: b"".join(
        [
            *[b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(", MKDIR, b"ctorch\nTensor\n"],
            *[text(p), b"\x85}tR."],
        ]
    ),
}


class _Loader(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return pid


def load_ordinarily(path: Path) -> None:
    """Loads every pickle in a file, or in a zip's records, as an incautious program would."""
    if (EXTENSION, ("posix", "mkdir")) not in copyreg._inverted_registry.items():
        copyreg.add_extension("posix", "mkdir", EXTENSION)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = [archive.read(name) for name in archive.namelist() if name.endswith("pkl")]
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            files = [archive.extractfile(member).read() for member in archive]
    else:
        files = [path.read_bytes()]
    for content in files:
        file = io.BytesIO(content)
        while file.tell() < len(content):
            _Loader(file).load()


def load_with_torch(path: Path) -> None:
    torch.load(path, weights_only=False)


def zipped(path: Path, content: bytes, **records: bytes) -> Path:
    """An archive as of torch.save, with `content` as its pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", content)
        archive.writestr("x/byteorder", b"little")
        archive.writestr("x/version", b"3\n")
        for name, record in records.items():
            archive.writestr(f"x/{name.replace('__', '/')}", record)
    return path


def in_older_format(path: Path, content: bytes, keys: bytes | None = None) -> Path:
    """A file as of torch before 1.6, with `content` as its fourth pickle."""
    head = MAGIC + pickle.dumps(1001, protocol=2) + pickle.dumps({}, protocol=2)
    path.write_bytes(head + content + (keys or pickle.dumps([], protocol=2)))
    return path
