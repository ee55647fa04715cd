"""Streaming comparison: the distances of a whole zoo, and no field is ever stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from modelgif.distances.cells import METRICS, Metric, channel_mean, distances_of_cells, finite_cells
from modelgif.distances.pairs import PairSums, warn_of_zero_cells
from modelgif.fields.field_settings import AnyTarget, FieldSettings
from modelgif.fields.quadrature import Rule
from modelgif.references.references import References
from modelgif.zoo.recipe import ModelSource, Recipe, make_model, with_ids
from modelgif.zoo.stream_checkpoint import StreamCheckpoint

# Numbers of the fields of all models that are in memory at once: 256 MiB of float32.
_BLOCK_NUMBERS = 2**26


@dataclass(frozen=True)
class StreamedDistances:
    """The distances of a zoo.

    Attributes:
        names: of the M models.
        matrix: distances of all pairs, float64 ``[M, M]``, symmetric, zero diagonal.
        zero_cells: how many of each model's cells are zero, int64 ``[M]``.
        against: the model that `per_reference` compares with.
        per_reference: distance of each model from `against` at each reference, float64 ``[M, N]``,
            whose mean over references is the distance; None when not asked for.
        pairs_per_reference: the same of all pairs, ``[M, M, N]``; None when not asked for.
    """

    names: tuple[str, ...]
    matrix: Tensor
    zero_cells: Tensor
    against: str | None = None
    per_reference: Tensor | None = None
    pairs_per_reference: Tensor | None = None


def stream_distances(
    models: Mapping[str, ModelSource],
    references: References | Tensor,
    *,
    target: AnyTarget = "predicted_class",
    baseline: float | Tensor = 0.0,
    n_steps: int = 50,
    rule: Rule = "gausslegendre",
    cumulative: bool = True,
    scale_by_path: bool = True,
    average_channels: bool = False,
    metric: Metric = "cosine",
    against: str | None = None,
    keep_pairs: bool = False,
    block: int | None = None,
    chunk_size: int | None = None,
    keep_models: bool = True,
    product_dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> StreamedDistances:
    """Returns the distances of all pairs of `models`, without storing a field.

    The references go by in blocks; of each block the fields of all models are computed, one model
    after the other, compared, and forgotten. Memory is that of one block, whatever the number of
    references. The distances are those of `modelgif.extract` and
    `modelgif.pairwise_distances`, to rounding.

    Args:
        models: by name: an address for `modelgif.load_model`, a module, or a function that
            makes one. Modules are left as they are.
        references: where to compare the models; a tensor's references are named by position.
        target: this and the following as in `modelgif.gradient_field`.
        baseline: a number, one input or one per reference.
        n_steps: nodes on the path.
        rule: quadrature rule.
        cumulative: whether steps accumulate.
        scale_by_path: whether to multiply by ``x - x'``.
        average_channels: whether fields of images are averaged over their channels before they are
            compared, as the released program of the paper does for Taskonomy.
        metric: of distance, as in `modelgif.distance`.
        against: name of the model to compare the others with at every single reference.
        keep_pairs: whether to keep the distances of all pairs at every reference, M²·N numbers.
        block: references at a time; by default as many as make 64 million numbers of fields, at
            least one.
        chunk_size: path points per pass.
        keep_models: whether models made from addresses and functions stay in the host's memory;
            otherwise each is made anew for every block.
        product_dtype: as in `modelgif.pairwise_distances`.
        device: where to compute. Models elsewhere are copied there in turn.
        dtype: precision of the fields.
        checkpoint: a file for the sums after each block. A run that was killed goes on from it and
            ends in the same bits; when it is complete, nothing is computed.
        progress: whether to show a progress bar on the terminal.

    Raises:
        ValueError: for no models, an unknown `against`, `metric` or target, a block below 1, what
            does not fit the references, or a field that is not finite, naming model and reference.
        modelgif.zoo.stream_checkpoint.StreamCheckpointError: when `checkpoint` is damaged,
            or the sums of something else, naming what differs.

    Warns:
        modelgif.distances.pairs.ZeroCellWarning: when a model has zero cells.

    Example:
        >>> models = {"a": torch.nn.Flatten(), "b": torch.nn.Sequential(torch.nn.Flatten())}
        >>> stream_distances(models, torch.rand(3, 1, 2, 2), progress=False).matrix.tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """
    names = list(models)
    if not names:
        raise ValueError("expected at least one model, got none.")
    if against is not None and against not in models:
        raise ValueError(f"against must be one of the models {', '.join(names)}, got {against!r}.")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}.")
    settings = FieldSettings(
        target=target,
        baseline=baseline,
        n_steps=n_steps,
        rule=rule,
        cumulative=cumulative,
        scale_by_path=scale_by_path,
        chunk_size=chunk_size,
        dtype=dtype,
    )
    recipe = Recipe(with_ids(references), settings, device)
    count = recipe.shape[0]
    block = recipe.block(_BLOCK_NUMBERS, len(names)) if block is None else block
    if block < 1:
        raise ValueError(f"block must be at least 1 reference, got {block}.")
    # In one block, and without headers to compute first, no model is asked for twice.
    zoo = _Zoo(models, keep=keep_models and (block < count or checkpoint is not None))
    sums = PairSums(names, metric=metric, product_dtype=product_dtype)
    kept: dict[str, list[Tensor]] = {"per_reference": [], "pairs": []}
    saved = None
    if checkpoint is not None:
        asked: dict[str, Any] = {
            "names": names,
            "models": {name: asdict(recipe.header(name, zoo[name])) for name in names},
            "kind": metric,
            "against": against,
            "keep_pairs": keep_pairs,
            # These change a result by rounding.
            "block": block,
            "chunk_size": chunk_size,
            "product_dtype": str(product_dtype),
            "device": torch.device(device).type,
        }
        if average_channels:
            asked["average_channels"] = True
        saved = StreamCheckpoint(checkpoint, asked)
        saved.restore(sums, kept)
    done = sums.n_references
    with tqdm(total=count * len(names), unit="reference", disable=not progress) as bar:
        bar.update(done * len(names))
        for first in range(done, count, block):
            rows = slice(first, min(first + block, count))
            fields = []
            for name in names:
                bar.set_description(name)
                field = _field(recipe, zoo, name, rows)
                fields.append(channel_mean(field) if average_channels else field)
                bar.update(len(fields[-1]))
            if against is not None:
                kept["per_reference"].append(_against(fields, names, against, metric, first))
            pairs = sums.add(fields, keep=keep_pairs)
            if pairs is not None:
                kept["pairs"].append(pairs.movedim(0, -1))
            # Not two blocks at once, while the next one is computed.
            del fields
            if saved is not None:
                saved.write(sums, kept)
    warn_of_zero_cells(sums.zeros.tolist(), names, count * n_steps)
    return StreamedDistances(
        names=tuple(names),
        matrix=sums.distances(),
        zero_cells=sums.zeros,
        against=against,
        per_reference=None if against is None else torch.cat(kept["per_reference"], 1),
        pairs_per_reference=torch.cat(kept["pairs"], 2) if keep_pairs else None,
    )


class _Zoo:
    """Models by name, made when they are asked for."""

    def __init__(self, models: Mapping[str, ModelSource], *, keep: bool) -> None:
        self._models, self._keep = dict(models), keep

    def __getitem__(self, name: str) -> nn.Module:
        model = make_model(self._models[name])
        if self._keep:
            self._models[name] = model
        return model


def _field(recipe: Recipe, zoo: _Zoo, name: str, rows: slice) -> Tensor:
    try:
        return recipe.field(zoo[name], rows)
    except Exception as error:
        error.add_note(f"while the model {name!r} was described")
        raise


def _against(
    fields: list[Tensor], names: list[str], against: str, metric: Metric, first: int
) -> Tensor:
    """Distances ``[M, n]`` of all fields from that of `against`."""
    origin = finite_cells(fields[names.index(against)], against, first)
    return torch.stack(
        [
            distances_of_cells(finite_cells(field, name, first), origin, metric).cpu()
            for field, name in zip(fields, names, strict=True)
        ]
    )
