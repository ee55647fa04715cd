"""Field stores: one HDF5 file a model, written whole or not at all."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, Self, get_args

import h5py
import numpy as np
import torch
from torch import Tensor

from modelgif.files import whole_file

SCHEMA_VERSION = 1
Storage = Literal["float32", "float64", "float16_scaled"]
_NUMBERS = {"float32": np.float32, "float64": np.float64, "float16_scaled": np.float16}

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


class StoreError(ValueError):
    """A file that is not a whole, sound field store, or stores that must not be compared."""


@dataclass(frozen=True)
class FieldHeader:
    """What a field store says about its field.

    Attributes:
        model: address or name of the model.
        weights_sha256: of its weights, see `modelgif.checkpoint.weights_sha256`.
        target: name of the differentiated scalar, see `modelgif.target.Target`.
        baseline: what the path starts from, in words or as a number.
        rule: quadrature rule.
        n_steps: nodes on the path.
        cumulative: whether steps accumulate.
        scale_by_path: whether the field is multiplied by ``x - x'``.
        dtype: precision in which the field was computed.
        storage: how it is stored; ``float16_scaled`` keeps each cell's largest magnitude apart and
            is accurate to 5e-4 of it.
        references_sha256: of the references and their ids.
        config_sha256: of the configuration that asked for the field; empty without one.
        versions: of the libraries that computed it.
    """

    model: str
    weights_sha256: str
    target: str
    baseline: str
    rule: str
    n_steps: int
    cumulative: bool
    scale_by_path: bool
    dtype: str
    storage: Storage
    references_sha256: str
    config_sha256: str
    versions: dict[str, str]


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
    ) -> Iterator["FieldWriter"]:
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
            field = torch.from_numpy(self._field[rows])
            if self.header.storage == "float16_scaled":
                scale = torch.from_numpy(_dataset(self._file, "scale")[rows])
                field = field.float() * scale.reshape(*scale.shape, *[1] * (field.ndim - 2))
        return field

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
        for field in fields(FieldHeader):
            value = attributes[field.name]
            values[field.name] = value.item() if isinstance(value, np.generic) else value
        return FieldHeader(**{**values, "versions": json.loads(values["versions"])})

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


class FieldWriter:
    """Appends blocks of references to a store that is being created."""

    def __init__(
        self,
        file: h5py.File,
        header: FieldHeader,
        reference_ids: Sequence[str],
        input_shape: Sequence[int],
    ) -> None:
        self._header, self._reference_ids, self._n_written = header, reference_ids, 0
        shape = (len(reference_ids), header.n_steps, *input_shape)
        file.attrs["schema_version"] = SCHEMA_VERSION
        for name, value in asdict(header).items():
            file.attrs[name] = json.dumps(value, sort_keys=True) if name == "versions" else value
        ids = np.array([name.encode() for name in reference_ids])
        file.create_dataset("reference_id", data=ids, chunks=ids.shape, fletcher32=True)
        self._field = file.create_dataset(
            "field", shape, _NUMBERS[header.storage], chunks=(1, *shape[1:]), fletcher32=True
        )
        if header.storage == "float16_scaled":
            self._scale = file.create_dataset(
                "scale", shape[:2], np.float32, chunks=(1, shape[1]), fletcher32=True
            )

    def append(self, block: Tensor) -> None:
        """Writes the field ``[n, S, *input_shape]`` of the next ``n`` references.

        Raises:
            StoreError: for a block of another shape, too many references, or a field that is not
                finite; the message names the model and the reference.
        """
        first, stop = self._n_written, self._n_written + len(block)
        if block.shape[1:] != self._field.shape[1:] or stop > self._field.shape[0]:
            raise StoreError(
                f"a block of shape {list(block.shape)} does not fit at reference {first} "
                f"of a field {list(self._field.shape)}."
            )
        finite = block.isfinite().flatten(1).all(1)
        if not finite.all():
            bad = first + int(finite.logical_not().nonzero()[0].item())
            name = self._reference_ids[bad]
            raise StoreError(
                f"the field of {self._header.model} is not finite (NaN or infinity) at reference "
                f"{bad} ({name}); its weights or outputs overflow there."
            )
        if self._header.storage == "float16_scaled":
            scale = block.flatten(2).abs().amax(2)
            self._scale[first:stop] = scale.float().cpu().numpy()
            scale = scale.where(scale > 0, 1).reshape(*scale.shape, *[1] * (block.ndim - 2))
            block = block / scale
        numbers = block.cpu().numpy()
        self._field[first:stop] = numbers.astype(self._field.dtype, copy=False)
        self._n_written = stop

    def finish(self) -> None:
        """Checks that every reference was written."""
        if self._n_written != self._field.shape[0]:
            raise StoreError(
                f"{self._n_written} of {self._field.shape[0]} references were written for "
                f"{self._header.model}; the store is dropped."
            )


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
