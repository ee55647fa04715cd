"""Sketches as files."""

import os
from dataclasses import asdict
from typing import Any

import torch

from modelgif.sketches.cosine_estimate import NUMBER_FORMATS
from modelgif.sketches.sketch import Sketch
from modelgif.storage.field_header import FieldHeader
from modelgif.storage.tensor_file import SealedFileError, read_sealed, write_sealed

_KIND = "sketch"


def write_sketch(path: str | os.PathLike[str], sketch: Sketch) -> None:
    """Writes a sketch with its header to `path`, whole or not at all."""
    write_sealed(path, _KIND, sketch_header(sketch), {"values": sketch.values})


def read_sketch(path: str | os.PathLike[str]) -> Sketch:
    """Returns the sketch that `write_sketch` wrote to `path`.

    Raises:
        modelgif.storage.tensor_file.SealedFileError: when there is no such file, or it is damaged
            or not a sketch.
    """
    header, tensors = read_sealed(path, _KIND)
    try:
        values = tensors["values"]
        sketch = Sketch(
            field=FieldHeader(**header.pop("field")),
            values=values,
            zero_cells=header.pop("zero_cells"),
            number_format=header.pop("precision"),
            **header,
        )
        if sketch.number_format not in NUMBER_FORMATS:
            raise ValueError(f"unknown number format {sketch.number_format!r}")
        expected = values_layout(sketch.size, sketch.number_format)
        if (len(values), values.dtype) != expected or values.ndim != 1:
            raise ValueError(f"values {list(values.shape)} of {values.dtype}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SealedFileError(
            f"{path} is not a sketch that this version reads ({type(error).__name__}: {error}); "
            "make it again."
        ) from error
    return sketch


def sketch_header(sketch: Sketch) -> dict[str, Any]:
    """Returns all of a sketch but its values, as plain JSON."""
    return {
        "field": asdict(sketch.field),
        "size": sketch.size,
        "seed": sketch.seed,
        "precision": sketch.number_format,
        "zero_cells": sketch.zero_cells,
    }


def values_layout(size: int, number_format: str) -> tuple[int, torch.dtype]:
    """Returns how many values of which type a sketch has."""
    if number_format == "sign":
        return size // 8, torch.uint8
    return size, getattr(torch, number_format)
