"""Making sketches, from a model or a store, a block of references at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from modelgif.distances.cells import check_finite, normalise_cells
from modelgif.fields.field_settings import AnyTarget, FieldSettings
from modelgif.fields.quadrature import Rule
from modelgif.references.references import References
from modelgif.sketches.cosine_estimate import NUMBER_FORMATS, NumberFormat, pack_signs
from modelgif.sketches.random_projection import RandomProjection
from modelgif.sketches.sketch import Sketch, SketchError
from modelgif.storage.field_header import FieldHeader
from modelgif.storage.field_store import FieldStore
from modelgif.zoo.recipe import Recipe, make_model, with_ids

# 20 KiB of them.
SIGNS = 163_840
# Numbers of a field that are in memory at once: 64 MiB of float32.
_BLOCK_NUMBERS = 2**24


class Sketcher:
    """Makes a sketch from blocks of references, which may come in any order.

    Args:
        size: numbers, or signs, of the projection.
        seed: of the projection.
        number_format: as in `Sketch`.
        name: of the model, for messages.
        device: where to compute.

    Raises:
        SketchError: for an unknown number format, or signs that do not fill bytes.
    """

    def __init__(
        self,
        size: int = SIGNS,
        *,
        seed: int = 0,
        number_format: NumberFormat = "sign",
        name: str = "model",
        device: torch.device | str = "cpu",
    ) -> None:
        if number_format not in NUMBER_FORMATS:
            raise SketchError(
                f"number_format must be one of {', '.join(NUMBER_FORMATS)}, got {number_format!r}."
            )
        if number_format == "sign" and size % 8:
            raise SketchError(
                f"signs are packed 8 per byte: size must be a multiple of 8, got {size}."
            )
        self.number_format: NumberFormat = number_format
        self._name, self._seen = name, set[str]()
        self._projection = RandomProjection(size, seed=seed, device=device)
        self._n_steps = 0
        self._zeros = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, block: Tensor, reference_ids: Sequence[str]) -> None:
        """Adds the field ``[n, S, *input_shape]`` at `n` references.

        Raises:
            SketchError: for a reference that was added before.
            ValueError: for a field that is not finite, naming the reference.
        """
        cells = block.detach().flatten(2).to(torch.float64, copy=True)
        unit, zero, finite = normalise_cells(cells)
        check_finite(finite.all(1), self._name, reference_ids)
        self._zeros += zero.sum()
        # Each cell has one coordinate more, 1 where the cell is zero.
        full = torch.cat([unit, zero[:, :, None].double()], 2).flatten(1)
        positions = torch.arange(full.shape[1], device=full.device)
        for name, values in zip(reference_ids, full, strict=True):
            if name in self._seen:
                raise SketchError(f"reference {name!r} was added before.")
            self._seen.add(name)
            self._projection.add(name, positions, values)
        self._n_steps = block.shape[1]

    def finish(self, header: FieldHeader) -> Sketch:
        """Returns the sketch of all that was added."""
        numbers = self._projection.result() / (len(self._seen) * self._n_steps) ** 0.5
        numbers = numbers.cpu()
        return Sketch(
            field=header,
            size=self._projection.size,
            seed=self._projection.seed,
            number_format=self.number_format,
            values=pack_signs(numbers)
            if self.number_format == "sign"
            else numbers.to(getattr(torch, self.number_format)),
            zero_cells=int(self._zeros.item()),
        )


def sketch_model(
    model: nn.Module | str,
    references: References | Tensor,
    *,
    target: AnyTarget = "predicted_class",
    baseline: float | Tensor = 0.0,
    n_steps: int = 50,
    rule: Rule = "gausslegendre",
    cumulative: bool = True,
    scale_by_path: bool = True,
    size: int = SIGNS,
    seed: int = 0,
    number_format: NumberFormat = "sign",
    name: str | None = None,
    block: int | None = None,
    chunk_size: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Sketch:
    """Returns the sketch of a model's gradient field, which is never held as a whole.

    Args:
        model: a module, which is left as it is, or an address.
        references: where to describe it; a tensor's references are named by position.
        target: this and the following as in `modelgif.gradient_field`.
        baseline: a number, one input or one per reference.
        n_steps: nodes on the path.
        rule: quadrature rule.
        cumulative: whether steps accumulate.
        scale_by_path: whether to multiply by ``x - x'``.
        size: numbers, or signs, of the projection.
        seed: of the projection; only sketches of one seed can be compared.
        number_format: as in `Sketch`.
        name: of the model; by default its address, or its class.
        block: references at a time; by default as many as make 16 million numbers of the field.
        chunk_size: path points per pass.
        device: where to compute.
        dtype: precision of the field.

    Raises:
        SketchError: as `Sketcher`.
        ValueError: for what does not fit the references, a block below 1, or a field that is not
            finite, naming model and reference.

    Example:
        >>> sketch = sketch_model(torch.nn.Flatten(), torch.rand(3, 1, 4, 4), n_steps=5)
        >>> sketch.n_bytes, sketch.zero_cells
        (20480, 0)
    """
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
    block = recipe.block(_BLOCK_NUMBERS) if block is None else block
    if block < 1:
        raise ValueError(f"block must be at least 1 reference, got {block}.")
    network = make_model(model)
    label = str(name or getattr(network, "address", "") or type(network).__name__)
    sketcher = Sketcher(size, seed=seed, number_format=number_format, name=label, device=device)
    ids = recipe.references.ids
    for first in range(0, len(ids), block):
        rows = slice(first, first + block)
        try:
            sketcher.add(recipe.field(network, rows), ids[rows])
        except Exception as error:
            error.add_note(f"while the model {label!r} was described")
            raise
    return sketcher.finish(recipe.header(label, network))


def sketch_store(
    store: FieldStore,
    *,
    size: int = SIGNS,
    seed: int = 0,
    number_format: NumberFormat = "sign",
    block: int | None = None,
) -> Sketch:
    """Returns the sketch of a stored field, read block by block; see `sketch_model`.

    Raises:
        SketchError: as `Sketcher`.
        modelgif.storage.field_store.StoreError: when the store is damaged.
    """
    numbers = torch.Size(store.shape[1:]).numel()
    block = max(1, _BLOCK_NUMBERS // numbers) if block is None else block
    sketcher = Sketcher(size, seed=seed, number_format=number_format, name=store.header.model)
    for first in range(0, len(store), block):
        rows = slice(first, first + block)
        sketcher.add(store[rows], store.reference_ids[rows])
    return sketcher.finish(store.header)
