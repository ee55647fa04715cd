"""Fields extracted in pieces: some references of one model each, by any number of workers."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from modelgif.fields.field_settings import FieldSettings
from modelgif.references.references import References
from modelgif.storage.field_header import FieldHeader
from modelgif.storage.field_store import FieldStore, StoreError
from modelgif.zoo.extract import extract
from modelgif.zoo.recipe import ModelSource


@dataclass(frozen=True)
class Piece:
    """Work that one worker does at a time.

    Attributes:
        model: name of the model.
        first: number of the first reference.
        stop: number of the reference after the last.
    """

    model: str
    first: int
    stop: int

    @property
    def name(self) -> str:
        """What its store is called."""
        return f"{self.model}.{self.first}-{self.stop}"


def cut(models: Iterable[str], n_references: int, size: int) -> list[Piece]:
    """Returns the pieces of up to `size` references of all models.

    Raises:
        ValueError: for a size below 1.
    """
    if size < 1:
        raise ValueError(f"a piece must have at least 1 reference, got {size}.")
    return [
        Piece(model, first, min(first + size, n_references))
        for model in models
        for first in range(0, n_references, size)
    ]


def extract_piece(
    piece: Piece,
    source: ModelSource,
    references: References,
    folder: str | Path,
    *,
    target: Any = "predicted_class",
    baseline: float | Tensor = 0.0,
    **options: Any,
) -> None:
    """Extracts one piece to ``folder/pieces``, unless it is there, sound, and of the same settings.

    The file depends on the piece alone, not on who makes it or when.

    Args:
        piece: which.
        source: the model, as in `modelgif.extract`.
        references: all of them.
        folder: where the joined stores will go.
        target: of all references, if it is a tensor.
        baseline: of all references, if it has one for each.
        **options: further arguments of `modelgif.extract`.

    Raises:
        RuntimeError: when the field cannot be computed, with the reason.
    """
    rows = slice(piece.first, piece.stop)
    here = FieldSettings(target=target, baseline=baseline).at(references.images, rows)
    done = extract(
        {piece.name: source},
        References(references.images[rows], references.ids[rows]),
        Path(folder) / "pieces",
        target=here.target,
        baseline=here.baseline,
        progress=False,
        **options,
    )
    done.raise_for_failures()


def join_pieces(
    pieces: Iterable[Piece],
    references: References,
    folder: str | Path,
    *,
    target: Any = "predicted_class",
    baseline: float | Tensor = 0.0,
) -> dict[str, Path]:
    """Joins pieces that are all there to one store per model, and returns the paths by model.

    The numbers are those of `modelgif.extract` to rounding, and exactly those if a chunk of
    path points ends where a piece does. The pieces stay.

    Args:
        pieces: of one or more models, in order.
        references: all of them.
        folder: as given to `extract_piece`, and where the stores ``NAME.h5`` go.
        target: as given to `extract_piece`.
        baseline: as given to `extract_piece`.

    Raises:
        StoreError: when a piece is missing, damaged, or of other references.
    """
    grouped: dict[str, list[Piece]] = {}
    for piece in pieces:
        grouped.setdefault(piece.model, []).append(piece)
    recorded = FieldSettings(target=target, baseline=baseline).record()
    whole = {
        "references_sha256": references.sha256(),
        "target": recorded["target"],
        "baseline": recorded["baseline"],
    }
    return {
        model: _join(model, parts, references, Path(folder), whole)
        for model, parts in grouped.items()
    }


def _join(
    model: str,
    pieces: list[Piece],
    references: References,
    folder: Path,
    settings: dict[str, str],
) -> Path:
    path = folder / f"{model}.h5"
    with ExitStack() as opened:
        stores = [
            opened.enter_context(FieldStore(folder / "pieces" / f"{piece.name}.h5"))
            for piece in pieces
        ]
        header = replace(
            stores[0].header,
            # An address, or the name that a piece is called by.
            model=stores[0].header.model.replace(pieces[0].name, model),
            **settings,
        )
        for piece, store in zip(pieces, stores, strict=True):
            ids = references.ids[piece.first : piece.stop]
            if tuple(store.reference_ids) != ids or _shared(store) != _shared(stores[0]):
                raise StoreError(
                    f"{store.path} is of other references, weights or settings than {model} is "
                    "asked for; move it away and extract it again."
                )
        with FieldStore.create(path, header, references.ids, stores[0].shape[2:]) as whole:
            for store in stores:
                for row in range(len(store)):
                    whole.append(store[row : row + 1])
    return path


def _shared(store: FieldStore) -> FieldHeader:
    """What all pieces of a model have in common: a target or baseline may be of each reference."""
    return replace(store.header, model="", references_sha256="", target="", baseline="")
