"""Field stores: one HDF5 file per model, written whole or not at all."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Self, get_args

import h5py
import numpy as np
import torch
from torch import Tensor

from modelgif.storage.atomic import whole_file
from modelgif.storage.field_header import (
    COMPARABLE,
    MAPPINGS,
    SCHEMA_VERSION,
    FieldHeader,
    Storage,
    StoreError,
    check_types,
)
from modelgif.storage.field_schema import check_layout
from modelgif.storage.field_writer import NUMBERS, FieldWriter
from modelgif.storage.hdf5_file import SteadyFile
from modelgif.storage.regular_file import missing_file

__all__ = ["FieldHeader", "FieldStore", "FieldWriter", "Storage", "StoreError", "check_comparable"]


class FieldStore:
    """An open field store, used like a tensor ``[N, S, *input_shape]`` that gives slices of rows.

    Slices are read from the file, checked against their checksums, and returned as tensors in the
    stored precision (float32 for ``float16_scaled``).

    Raises:
        StoreError: when the file is missing, not a field store, of another schema version or
            damaged; on opening or on reading.

    Example:
        >>> import tempfile
        >>> from modelgif.zoo.extract import extract
        >>> models, images = {"m": torch.nn.Flatten()}, torch.rand(3, 1, 2, 2)
        >>> done = extract(models, images, tempfile.mkdtemp(), n_steps=5, progress=False)
        >>> with FieldStore(done.stores["m"]) as store:
        ...     print(store.shape, store[0:2].shape, store.header.rule)
        (3, 5, 1, 2, 2) torch.Size([2, 5, 1, 2, 2]) gausslegendre
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if (note := missing_file(path)) is not None:
            raise StoreError(f"{self.path}: there is no such field store{note}; extract it first.")
        with self._damage_named(), ExitStack() as on_error:
            self._file = on_error.enter_context(h5py.File(self.path, "r"))
            self._check_version()
            check_layout(self._file, self.path.stat().st_size)
            self.header = self._read_header()
            self._field = _dataset(self._file, "field")
            self.shape: tuple[int, ...] = self._field.shape
            self._check_numbers()
            ids: list[bytes] = _dataset(self._file, "reference_id")[:].tolist()
            self.reference_ids = [name.decode() for name in ids]
            on_error.pop_all()

    @classmethod
    @contextmanager
    def create(
        cls,
        path: str | os.PathLike[str],
        header: FieldHeader,
        reference_ids: Sequence[str],
        input_shape: Sequence[int],
    ) -> Iterator[FieldWriter]:
        """Gives a writer whose blocks become the store at `path` if all references were appended.

        The same header and blocks give the same bytes. When the block raises, or the process dies,
        nothing is visible at `path`.

        Raises:
            StoreError: when fewer references were appended than `reference_ids` names.
            modelgif.storage.atomic.DiskFullError: when there is no room; also from the writer.
        """
        if header.storage not in get_args(Storage):
            raise StoreError(
                f"storage must be one of {', '.join(get_args(Storage))}, got {header.storage!r}."
            )
        with whole_file(path) as part, closing(SteadyFile(part)) as steady:
            # The latest format has checksums on its metadata, too.
            with h5py.File(steady, "w", libver="latest") as file:
                writer = FieldWriter(
                    file, header, reference_ids, input_shape, check=steady.raise_error
                )
                yield writer
                writer.finish()
            steady.raise_error()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        with self._damage_named():
            block = torch.from_numpy(self._field[rows])
            if self.header.storage == "float16_scaled":
                scale = torch.from_numpy(_dataset(self._file, "scale")[rows])
                block = block.float() * scale.reshape(*scale.shape, *[1] * (block.ndim - 2))
        return block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def verify(self) -> None:
        """Reads everything once.

        Raises:
            StoreError: when a checksum fails.
        """
        for row in range(len(self)):
            self[row : row + 1]

    def _check_version(self) -> None:
        version = None
        if "schema_version" in self._file.attrs:
            attribute = self._file.attrs.get_id("schema_version")
            if attribute.shape == () and attribute.dtype.kind in "iu":
                version = self._file.attrs["schema_version"]
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: expected a field store of schema version {SCHEMA_VERSION}, "
                f"got {version}; extract it again with this version."
            )

    def _read_header(self) -> FieldHeader:
        values = {}
        for name in (entry.name for entry in fields(FieldHeader)):
            value = np.asarray(self._file.attrs[name]).item()
            values[name] = value.decode() if isinstance(value, bytes) else value
        header = FieldHeader(**values | {name: json.loads(values[name]) for name in MAPPINGS})
        check_types(header)
        return header

    def _check_numbers(self) -> None:
        """Checks that the field is what the header says."""
        stored = NUMBERS[self.header.storage]
        scaled = self.header.storage == "float16_scaled"
        if (
            self._field.dtype != stored
            or self.shape[1] != self.header.n_steps
            or ("scale" in self._file) != scaled
        ):
            raise ValueError(
                f"a field {list(self.shape)} of {self._field.dtype} is not what its header says: "
                f"{self.header.n_steps} steps as {self.header.storage}"
            )

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        # h5py reports damage as any of these, depending on which byte is bad.
        try:
            yield
        except StoreError:
            raise
        except (
            *(OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError),
            *(MemoryError, OverflowError),
        ) as error:
            raise StoreError(
                f"{self.path}: not a sound field store ({str(error)[:300] or type(error).__name__})"
                "; move it away and extract it again."
            ) from error


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise TypeError(f"{name} is not a data set")
    return dataset


def check_comparable(stores: Sequence[FieldStore]) -> None:
    """Checks that the fields of all stores can be compared.

    Raises:
        StoreError: naming two stores and what differs between them: references, target, baseline,
            rule, number of steps, accumulation or scaling.

    Example:
        >>> import tempfile
        >>> from modelgif.zoo.extract import extract
        >>> models, images = {"a": torch.nn.Flatten(), "b": torch.nn.Flatten()}, torch.rand(2, 1, 2)
        >>> done = extract(models, images, tempfile.mkdtemp(), n_steps=2, progress=False)
        >>> check_comparable([FieldStore(path) for path in done.stores.values()])
    """
    for store in stores[1:]:
        first = stores[0]
        for name in COMPARABLE:
            ours, theirs = getattr(first.header, name), getattr(store.header, name)
            if ours != theirs:
                raise StoreError(
                    f"{first.path} and {store.path} cannot be compared: their {name} differ, "
                    f"{ours!r} and {theirs!r}. Extract both with the same settings."
                )
        if first.reference_ids != store.reference_ids or first.shape != store.shape:
            raise StoreError(
                f"{first.path} and {store.path} cannot be compared: their references differ, "
                f"{list(first.shape)} and {list(store.shape)}."
            )
