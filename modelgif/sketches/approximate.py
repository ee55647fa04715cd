"""Approximate search among many sketches, with faiss."""

import importlib
from types import ModuleType

import torch
from torch import Tensor

from modelgif.sketches.index import Matches, SketchIndex
from modelgif.sketches.sketch import Sketch, estimated_distances

# Sketches looked at for the links of each. With faiss's 40, families of near models that are added
# block by block end up apart from each other, and a fifth of what is near is never found.
_EF_CONSTRUCTION = 128


class Nearby:
    """A graph of an index's sketches in memory, in which a search looks at few of them.

    The graph (HNSW) is of the sketches' inner products, or of how many signs differ. What it finds
    is compared as `SketchIndex.search` does, so that distances are the same, and the only error is
    to miss a model; `benchmarks/index.py` measures how many are missed.

    Args:
        index: the sketches; what is added to it later is not seen.
        M: links of each sketch to others, as in HNSW: more find more, and take longer.

    Raises:
        ImportError: when faiss is not installed.
        ValueError: for an empty index.

    Source: Malkov and Yashunin, Efficient and Robust Approximate Nearest Neighbor Search Using
    Hierarchical Navigable Small World Graphs, 2018.
    """

    def __init__(self, index: SketchIndex, *, M: int = 32) -> None:
        faiss = _faiss()
        if len(index) == 0:
            raise ValueError(f"{index.folder} has no sketches yet; add some.")
        self._index = index
        first = index.values(slice(0, 1))
        if first.dtype == torch.uint8:
            self._graph = faiss.IndexBinaryHNSW(8 * first.shape[1], M)
        else:
            self._graph = faiss.IndexHNSWFlat(first.shape[1], M, faiss.METRIC_INNER_PRODUCT)
        self._graph.hnsw.efConstruction = _EF_CONSTRUCTION
        for _, block in index.blocks():
            self._graph.add(_comparable(block).numpy())

    def search(self, sketch: Sketch, k: int = 10, *, ef_search: int = 128) -> Matches:
        """Returns `k` models near to a sketch, nearest first, as `SketchIndex.search`.

        Args:
            sketch: of the model in question.
            k: how many are wanted.
            ef_search: sketches looked at, as in HNSW: more find more, and take longer.

        Raises:
            modelgif.sketches.index_files.IndexFileError: as `SketchIndex.search`.
            ValueError: for a `k` or an `ef_search` below 1.
        """
        self._index.check(sketch, k)
        if ef_search < 1:
            raise ValueError(f"ef_search must be at least 1, got {ef_search}.")
        wanted = min(max(k, ef_search), self._graph.ntotal)
        self._graph.hnsw.efSearch = wanted
        _, candidates = self._graph.search(_comparable(sketch.values[None]).numpy(), wanted)
        rows = sorted(row for row in candidates[0].tolist() if row >= 0)
        values = self._index.values(rows)
        distances = estimated_distances(sketch.values[None], values, sketch.size)[0].double()
        nearest, order = distances.sort(stable=True)
        return self._index.matches(sketch, [rows[i] for i in order[:k].tolist()], nearest[:k])


def _comparable(values: Tensor) -> Tensor:
    """Numbers of length 1, whose inner product is the cosine; signs as they are."""
    if values.dtype == torch.uint8:
        return values
    return torch.nn.functional.normalize(values.float(), dim=1)


def _faiss() -> ModuleType:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise ImportError(
            "approximate search needs faiss: pip install 'modelgif[index]', or search exactly with "
            "SketchIndex.search."
        ) from error
