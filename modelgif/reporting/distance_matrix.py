"""Distance matrices for people: a table in a notebook, a frame, a picture."""

import base64
import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from modelgif.distances.cells import Metric
from modelgif.distances.distance import Field, pairwise_distances
from modelgif.loading.address import did_you_mean
from modelgif.storage.field_store import FieldStore, check_comparable
from modelgif.zoo.extract import Extraction
from modelgif.zoo.stream import StreamedDistances

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# A notebook shows a table of more columns than this as a picture.
_LARGEST_TABLE = 16
# Of the text that `print` shows; the middle of a larger matrix is left out.
_MOST_ROWS, _MOST_COLUMNS = 20, 12
_BLUE = "0, 114, 178"

Plot = Literal["heat_map", "similarity_tree"]


@dataclass(frozen=True, eq=False, repr=False)
class DistanceMatrix:
    """The distances of all pairs of models: ``matrix["mine", "theirs"]``.

    A notebook shows it as a table, or, of many models, as a picture. pandas and matplotlib are
    imported by what needs them.

    Attributes:
        names: of the M models.
        values: float64 ``[M, M]``, symmetric, zero diagonal.

    Raises:
        ValueError: for a name that appears twice, or values that are not one row and column per
            name.
    """

    names: tuple[str, ...]
    values: Tensor

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(set(self.names)) != count or self.values.shape != (count, count):
            raise ValueError(
                f"expected {count} different names and values [{count}, {count}], got "
                f"{len(set(self.names))} different ones and {list(self.values.shape)}."
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, pair: tuple[str, str]) -> float:
        for name in pair:
            if name not in self.names:
                raise KeyError(f"no model is called {name!r}.{did_you_mean(name, self.names)}")
        row, column = map(self.names.index, pair)
        return self.values[row, column].item()

    def to_frame(self) -> "pd.DataFrame":
        """Returns a frame with the models as its index and columns."""
        import pandas as pd

        names = pd.Index(self.names, name="model")
        return pd.DataFrame(self.values.cpu().numpy(), names, pd.Index(self.names))

    def plot(self, kind: Plot = "heat_map", *, groups: Sequence[str] | None = None) -> "Figure":
        """Returns a picture of the matrix, see `modelgif.reporting.figure`.

        Args:
            kind: one cell per pair, or the tree of models that are alike.
            groups: what each model is; models of a group are put together, or coloured alike.

        Raises:
            ValueError: for another kind, fewer than two models, or groups that do not fit.
        """
        from modelgif.reporting.figure import heat_map, similarity_tree

        if kind == "heat_map":
            return heat_map(self.values.cpu(), self.names, groups=groups)
        if kind == "similarity_tree":
            return similarity_tree(self.values.cpu(), self.names, groups=groups)
        raise ValueError(f"kind must be heat_map or similarity_tree, got {kind!r}.")

    def __repr__(self) -> str:
        rows, columns = _ends(len(self), _MOST_ROWS), _ends(len(self), _MOST_COLUMNS)
        texts = [
            [
                "..." if None in (row, column) else f"{self.values[row, column].item():.3f}"
                for column in columns
            ]
            for row in rows
        ]
        heads = ["..." if column is None else self.names[column] for column in columns]
        sides = ["..." if row is None else self.names[row] for row in rows]
        widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
        side = max(map(len, sides), default=0)
        lines = [
            " ".join([name.ljust(side), *map(str.rjust, cells, widths)])
            for name, cells in zip(["", *sides], [heads, *texts], strict=True)
        ]
        return "\n".join([f"Distances of {len(self)} models", *lines])

    def _repr_html_(self) -> str:
        if len(self) > _LARGEST_TABLE:
            from modelgif.reporting.figure import render_figure

            content = io.BytesIO()
            render_figure(self.plot(), content)
            picture = base64.b64encode(content.getvalue()).decode()
            alt = f"Heat map of the distances of {len(self)} models"
            return f'<img alt="{alt}" width="640" src="data:image/png;base64,{picture}">'
        heads = "".join(f"<th>{escape(name)}</th>" for name in self.names)
        rows = "".join(
            f"<tr><th>{escape(name)}</th>{''.join(map(self._cell, row))}</tr>\n"
            for name, row in zip(self.names, self.values.tolist(), strict=True)
        )
        return f"<table>\n<tr><th></th>{heads}</tr>\n{rows}</table>"

    def _cell(self, distance: float) -> str:
        # The nearer, the bluer; translucent, so that text stays legible on light and dark pages.
        largest = self.values.max().item() or 1.0
        shade = 0.5 * (1 - distance / largest)
        return f'<td style="background: rgba({_BLUE}, {shade:.2f})">{distance:.3f}</td>'


def _ends(count: int, most: int) -> list[int | None]:
    """Positions of the first and last of `count` things, with None for those between."""
    if count <= most:
        return list(range(count))
    return [*range(most // 2), None, *range(count - most // 2, count)]


def distance_matrix(
    described: Mapping[str, Field | str | Path] | Extraction | StreamedDistances,
    *,
    metric: Metric = "cosine",
    product_dtype: torch.dtype = torch.float64,
) -> DistanceMatrix:
    """Returns the distances of all pairs of models, with their names.

    Args:
        described: fields, or paths of field stores, by model; what `modelgif.extract` made;
            or what `modelgif.stream_distances` computed, which is only given a face.
        metric: this and the following as in `modelgif.pairwise_distances`; not for streamed
            distances, which have theirs.
        product_dtype: of the products.

    Raises:
        ValueError: as `modelgif.pairwise_distances`, or for models without a field.
        modelgif.storage.field_store.StoreError: for stores that cannot be compared, naming what
            differs.

    Example:
        >>> fields = {"a": torch.tensor([[[1.0, 0.0]]]), "b": torch.tensor([[[0.0, 2.0]]])}
        >>> distance_matrix(fields)["a", "b"]
        1.0
    """
    if isinstance(described, StreamedDistances):
        return DistanceMatrix(described.names, described.matrix)
    if isinstance(described, Extraction):
        described.raise_for_failures()
        described = described.stores
    with ExitStack() as opened:
        fields = {
            name: opened.enter_context(FieldStore(field))
            if isinstance(field, str | Path)
            else field
            for name, field in described.items()
        }
        check_comparable([field for field in fields.values() if isinstance(field, FieldStore)])
        values = pairwise_distances(
            list(fields.values()), metric=metric, names=list(fields), product_dtype=product_dtype
        )
    return DistanceMatrix(tuple(fields), values)
