"""Writing a field store, block by block."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

import h5py
import numpy as np
import torch
from torch import Tensor

from modelgif.storage.field_header import MAPPINGS, SCHEMA_VERSION, FieldHeader, StoreError

NUMBERS = {"float32": np.float32, "float64": np.float64, "float16_scaled": np.float16}


class FieldWriter:
    """Appends blocks of references to a store that is being created.

    `check` raises when a block could not be written.
    """

    def __init__(
        self,
        file: h5py.File,
        header: FieldHeader,
        reference_ids: Sequence[str],
        input_shape: Sequence[int],
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._check = check
        self._header, self._reference_ids, self._n_written = header, reference_ids, 0
        shape = (len(reference_ids), header.n_steps, *input_shape)
        file.attrs["schema_version"] = SCHEMA_VERSION
        for name, value in asdict(header).items():
            value = json.dumps(value, sort_keys=True) if name in MAPPINGS else value
            # Of fixed length: HDF5 keeps strings of variable length where it has no checksums.
            file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
        ids = np.array([name.encode() for name in reference_ids])
        file.create_dataset("reference_id", data=ids, chunks=ids.shape, fletcher32=True)
        self._field = file.create_dataset(
            "field", shape, NUMBERS[header.storage], chunks=(1, *shape[1:]), fletcher32=True
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
        # In the stored precision, where large numbers of a wider one would become infinite.
        as_stored = block.to(torch.float64 if self._header.storage == "float64" else torch.float32)
        finite = as_stored.isfinite().flatten(1).all(1)
        if not finite.all():
            bad = first + int(finite.logical_not().nonzero()[0].item())
            name = self._reference_ids[bad]
            raise StoreError(
                f"the field of {self._header.model} is not finite (NaN, infinity or beyond "
                f"{self._header.storage}) at reference {bad} ({name}); its weights or outputs "
                "overflow there."
            )
        if self._header.storage == "float16_scaled":
            scale = block.flatten(2).abs().amax(2)
            self._scale[first:stop] = scale.float().cpu().numpy()
            scale = scale.where(scale > 0, 1).reshape(*scale.shape, *[1] * (block.ndim - 2))
            block = block / scale
        numbers = block.cpu().numpy()
        self._field[first:stop] = numbers.astype(self._field.dtype, copy=False)
        self._n_written = stop
        # Not at the end only: a field can take hours.
        self._check()

    def finish(self) -> None:
        """Checks that every reference was written."""
        if self._n_written != self._field.shape[0]:
            raise StoreError(
                f"{self._n_written} of {self._field.shape[0]} references were written for "
                f"{self._header.model}; the store is dropped."
            )
