"""The layout of a field store in HDF5: what its writer makes, and nothing else.

HDF5 can do more than hold numbers: a data set can be in another file, be put together from several,
be compressed a thousandfold, or claim terabytes that were never written. A store does none of it.
"""

from dataclasses import fields

import h5py
import numpy as np

from modelgif.storage.field_header import FieldHeader

# HDF5's own limit on an attribute in an object header is 64 kB.
_LONGEST_TEXT = 2**20
_CHECKSUM_SIZE = 4


def check_layout(file: h5py.File, size: int) -> None:
    """Checks that a file's data sets hold their numbers here, plainly, and all of them.

    Nothing but metadata is read, so the memory that reading a store takes is bounded by its size.

    Args:
        file: open.
        size: of the file in bytes.

    Raises:
        ValueError: naming the data set or attribute.
        KeyError: for one that is missing.
    """
    for name in ("schema_version", *(entry.name for entry in fields(FieldHeader))):
        if name not in file.attrs:
            raise KeyError(f"the attribute {name} is missing")
        attribute = file.attrs.get_id(name)
        if (
            attribute.dtype.kind not in "Sbiuf"
            or attribute.shape != ()
            or attribute.dtype.itemsize > _LONGEST_TEXT
        ):
            raise ValueError(
                f"the attribute {name} is {attribute.dtype} {list(attribute.shape)}, "
                "not a plain value"
            )
    field = _plain(file, "field", "f", size)
    if field.ndim < 3 or field.chunks != (1, *field.shape[1:]):
        raise ValueError(f"field {list(field.shape)} is not [N, S, *input_shape] by references")
    ids = _plain(file, "reference_id", "S", size)
    if ids.shape != field.shape[:1] or ids.chunks != ids.shape:
        raise ValueError(f"{list(ids.shape)} names do not fit {field.shape[0]} references")
    if "scale" in file:
        scale = _plain(file, "scale", "f", size)
        if scale.shape != field.shape[:2] or scale.chunks != (1, scale.shape[1]):
            raise ValueError(f"scales {list(scale.shape)} do not fit the field")


def _plain(file: h5py.File, name: str, kind: str, size: int) -> h5py.Dataset:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is missing, or a link to elsewhere")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{name} is not a data set")
    created = dataset.id.get_create_plist()
    if created.get_layout() != h5py.h5d.CHUNKED or created.get_external_count():
        raise ValueError(f"{name} is not stored in chunks of this file")
    filters = [created.get_filter(i)[0] for i in range(created.get_nfilters())]
    if filters != [h5py.h5z.FILTER_FLETCHER32]:
        raise ValueError(f"{name} is not stored as it is with checksums (its filters: {filters})")
    if dataset.dtype.kind != kind or dataset.maxshape != dataset.shape or 0 in dataset.shape:
        raise ValueError(f"{name} is {dataset.dtype} {list(dataset.shape)} {dataset.maxshape}")
    n_chunks = np.prod(
        [-(-a // b) for a, b in zip(dataset.shape, dataset.chunks or (), strict=True)]
    )
    needed = int(dataset.nbytes) + _CHECKSUM_SIZE * int(n_chunks)
    if needed > size or dataset.id.get_storage_size() != needed:
        raise ValueError(
            f"{name} {list(dataset.shape)} needs {needed:,} bytes, of which the file of {size:,} "
            f"has {dataset.id.get_storage_size():,}"
        )
    return dataset
