"""Weights in files of torch.save, checked before torch reads them."""

import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from modelgif.loading.errors import PlainPickleError
from modelgif.loading.pickle_scan import outline

# The first pickle of a file in the format before torch 1.6.
_MAGIC = 0x1950A86A20F9469CFC6C
# Of the list of records; one of torch.save takes about 100 bytes of it.
_LONGEST_LIST = 2**23
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_SIZE = 20
# Among the attributes of a record, after MS-DOS.
_FOLDER = 0x10


def read_pickled(path: Path) -> Any:
    """Returns what torch.save wrote to `path`, on the CPU, if it holds tensors and plain values.

    Before torch reads the file, the pickle in it is scanned without calling anything, see
    `modelgif.loading.pickle_scan`; an archive's records must be stored uncompressed, each once,
    with matching checksums. Memory is bounded by a multiple of the file's size.

    Raises:
        PlainPickleError: for anything else, with the reason.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        if zipped:
            _check_archive(file, size)
        else:
            _check_older_format(file, size)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_older_format(file: IO[bytes], size: int) -> None:
    magic = outline(file).value
    if magic != _MAGIC:
        raise PlainPickleError("it is not a file written by torch.save")
    outline(file)  # the version
    outline(file)  # the machine
    claimed = sum(outline(file).storages.values())
    outline(file)  # the order of the storages
    if claimed > size:
        raise PlainPickleError(f"it claims to hold {claimed:,} numbers in {size:,} bytes")


def _check_archive(file: IO[bytes], size: int) -> None:
    _check_list(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            folder = names[0].partition("/")[0]
            # torch finds records by name whatever its case.
            if len({name.lower() for name in names}) < len(names):
                raise PlainPickleError("it has two records with the same name")
            if not folder.strip(".") or any(
                not name.startswith(f"{folder}/") or ".." in name.split("/") for name in names
            ):
                raise PlainPickleError("its records are not in one folder")
            if f"{folder}/constants.pkl" in names:
                raise PlainPickleError("it is an archive of TorchScript, which holds code")
            # A few megabytes can be inflated to any size, and records can share their bytes.
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
            if packed or sum(entry.file_size for entry in entries) > size:
                raise PlainPickleError("its records are compressed, or overlap")
            # torch reads nothing into the memory of a record that is marked so.
            if any(entry.external_attr & _FOLDER for entry in entries):
                raise PlainPickleError("a record is marked as a folder")
            # Elsewhere, torch and this reader might disagree where a record begins.
            if min(entry.header_offset for entry in entries) != 0:
                raise PlainPickleError("something comes before its first record")
            damaged = archive.testzip()
            if damaged is not None:
                raise PlainPickleError(f"its record {damaged} does not have its checksum")
            with archive.open(f"{folder}/data.pkl") as record:
                outline(record)
    except (
        *(zipfile.BadZipFile, NotImplementedError, RuntimeError),
        *(KeyError, OSError, EOFError),
    ) as error:
        raise PlainPickleError(f"it is not a complete archive of torch.save ({error})") from error


def _check_list(file: IO[bytes], size: int) -> None:
    """Checks the end of an archive, so that every reader finds the same list of records there."""
    file.seek(max(0, size - _END.size - _LOCATOR_SIZE - _END64.size))
    end = file.read()
    if len(end) < _END.size or end[-_END.size :][:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise PlainPickleError("it does not end as an archive of torch.save does")
    length = _END.unpack(end[-_END.size :])[5]
    if length == 0xFFFFFFFF and len(end) > _END.size + _LOCATOR_SIZE:
        length = _END64.unpack(end[: _END64.size])[8]
    if length > _LONGEST_LIST:
        raise PlainPickleError(f"its list of records takes {length:,} bytes")
