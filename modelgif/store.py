"""Field stores: one HDF5 file a model, written whole or not at all."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Self, get_args

import h5py
import numpy as np
import torch
from torch import Tensor

from modelgif.field_header import (
    MAPPINGS,
    SCHEMA_VERSION,
    FieldHeader,
    Storage,
    StoreError,
)
from modelgif.field_writer import FieldWriter
from modelgif.files import whole_file

__all__ = ["FieldHeader", "FieldStore", "FieldWriter", "Storage", "StoreError", "check_comparable"]

# What two stores must share for their distance to mean anything.
_COMPARABLE = (
    "references_sha256",
    "target",
    "baseline",
    "rule",
    "n_steps",
    "cumulative",
    "scale_by_path",
)


class FieldStore:
    """An open field store, used like a tensor ``[N, S, *input_shape]`` that gives slices of rows.

    Slices are read from the file, checked against their checksums, and returned as tensors in the
    stored precision (float32 for ``float16_scaled``).

    Raises:
        StoreError: when the file is missing, not a field store, of another schema version or
            damaged; on opening or on reading.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise StoreError(f"{self.path}: there is no such field store; extract it first.")
        with self._damage_named(), ExitStack() as on_error:
            self._file = on_error.enter_context(h5py.File(self.path, "r"))
            self.header = self._read_header()
            self._field = _dataset(self._file, "field")
            self.shape: tuple[int, ...] = self._field.shape
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
        """
        if header.storage not in get_args(Storage):
            raise StoreError(
                f"storage must be one of {', '.join(get_args(Storage))}, got {header.storage!r}."
            )
        # The latest format has checksums on its metadata, too.
        with whole_file(path) as part, h5py.File(part, "w", libver="latest") as file:
            writer = FieldWriter(file, header, reference_ids, input_shape)
            yield writer
            writer.finish()

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

    def _read_header(self) -> FieldHeader:
        attributes = dict(self._file.attrs)
        version = attributes.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: expected a field store of schema version {SCHEMA_VERSION}, "
                f"got {version}; extract it again with this version."
            )
        values = {}
        for name in (entry.name for entry in fields(FieldHeader)):
            value = np.asarray(attributes[name]).item()
            values[name] = value.decode() if isinstance(value, bytes) else value
        return FieldHeader(**values | {name: json.loads(values[name]) for name in MAPPINGS})

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        # h5py reports damage as any of these, depending on which byte is bad.
        try:
            yield
        except StoreError:
            raise
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{self.path}: not a sound field store ({error}); delete it and extract it again."
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
    """
    for store in stores[1:]:
        first = stores[0]
        for name in _COMPARABLE:
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
