"""Extraction: the fields of many models at the same references, as field stores."""

import copy
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from modelgif.fields.acceleration import Acceleration, accelerate, autocast_distance
from modelgif.fields.batch_size import micro_batch
from modelgif.fields.field_settings import AnyTarget, FieldSettings
from modelgif.fields.quadrature import Rule
from modelgif.references.references import References
from modelgif.storage.field_header import FieldHeader
from modelgif.storage.field_store import FieldStore, Storage, StoreError
from modelgif.zoo.background_writer import Background
from modelgif.zoo.recipe import ModelSource, Recipe, make_model, with_ids

# Numbers of a field computed before they go to the file: 256 MiB of float32.
_BLOCK_NUMBERS = 2**26
# References on which the error of autocast is measured.
_SAMPLE = 4
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "._-")


@dataclass(frozen=True)
class Extraction:
    """What an extraction did.

    Attributes:
        stores: path of every field store now present, by model.
        skipped: models whose store was there already.
        failed: models without a store, with the reason.
        notes: what was tried to describe a model faster, and what became of it, by model.
    """

    stores: dict[str, Path] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def raise_for_failures(self) -> None:
        """Raises `RuntimeError` naming every failed model, if there are any."""
        if self.failed:
            reasons = "\n".join(f"  {name}: {reason}" for name, reason in self.failed.items())
            raise RuntimeError(f"{len(self.failed)} models have no field:\n{reasons}")


def extract(
    models: Mapping[str, ModelSource],
    references: References | Tensor,
    folder: str | Path,
    *,
    target: AnyTarget = "predicted_class",
    baseline: float | Tensor = 0.0,
    n_steps: int = 50,
    rule: Rule = "gausslegendre",
    cumulative: bool = True,
    scale_by_path: bool = True,
    chunk_size: int | None = None,
    storage: Storage = "float32",
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    config_sha256: str = "",
    acceleration: Acceleration | None = None,
    progress: bool = True,
) -> Extraction:
    """Computes the gradient field of every model and returns where the stores are.

    Each model becomes ``folder/NAME.h5``. One model is in memory at a time, and one block of its
    field. A model whose store is there, sound, and made with the same weights and settings, is
    skipped: a killed extraction goes on where it stopped, and ends in the same bytes. A model that
    fails does not stop the others.

    Args:
        models: by name (letters, digits and ``._-``): an address for
            `modelgif.load_model`, a module, or a function that makes one. Modules are
            copied, never moved or changed.
        references: where to describe the models; a tensor's references are named by position.
        folder: where the stores go.
        target: this and the following as in `modelgif.gradient_field`.
        baseline: a number, one input or one per reference.
        n_steps: nodes on the path.
        rule: quadrature rule.
        cumulative: whether steps accumulate.
        scale_by_path: whether to multiply by ``x - x'``.
        chunk_size: path points per pass.
        storage: precision on disk, see `modelgif.storage.field_store.FieldHeader`.
        device: where to compute.
        dtype: precision of computation.
        config_sha256: recorded in every store.
        acceleration: what to try to describe models faster; autocast is recorded in every store,
            and its notes give the distance of its field from the field without, at four references.
        progress: whether to show a progress bar on the terminal.

    Raises:
        ValueError: for a model's name that is not a valid file name, an unknown target, or labels
            or a baseline that do not fit the references.

    Example:
        >>> import tempfile
        >>> models, images = {"a": torch.nn.Flatten()}, torch.rand(3, 1, 2, 2)
        >>> done = extract(models, images, tempfile.mkdtemp(), n_steps=5, progress=False)
        >>> [path.name for path in done.stores.values()], done.failed
        (['a.h5'], {})
    """
    for name in models:
        if not name or set(name) - _NAME_CHARACTERS or name.startswith("."):
            raise ValueError(
                f"a model's name becomes a file name: use letters, digits and '._-', got {name!r}."
            )
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
    count = len(recipe.references)
    done = Extraction()
    with tqdm(total=len(models) * count, unit="reference", disable=not progress) as bar:
        for n_seen, (name, source) in enumerate(models.items(), start=1):
            bar.set_description(name)
            path = Path(folder) / f"{name}.h5"
            try:
                model = _own(make_model(source), source)
                label = source if isinstance(source, str) else name
                header = recipe.header(label, model, storage=storage, config_sha256=config_sha256)
                header = replace(header, dtype=_precision(header.dtype, acceleration))
                if _is_there(path, header):
                    done.skipped.append(name)
                else:
                    model, used = model.to(device, dtype), recipe
                    if acceleration is not None:
                        model, used, done.notes[name] = _faster(model, recipe, acceleration)
                    _write(path, header, model, used, bar)
                done.stores[name] = path
            except Exception as error:
                # One bad model must not lose the others: the caller sees every reason at the end.
                done.failed[name] = f"{type(error).__name__}: {error}"
            bar.update(n_seen * count - bar.n)
    return done


def _own(model: nn.Module, source: ModelSource) -> nn.Module:
    """A module that may be moved: a copy where the caller holds it."""
    return copy.deepcopy(model) if model is source else model


def _write(path: Path, header: FieldHeader, model: nn.Module, recipe: Recipe, bar: tqdm) -> None:
    """Writes the model's field, a block of references after the other."""
    references = recipe.references
    block = recipe.block(_BLOCK_NUMBERS)
    with (
        FieldStore.create(path, header, references.ids, references.images.shape[1:]) as store,
        Background(recipe.device) as background,
    ):
        for first in range(0, len(references), block):
            part = recipe.field(model, slice(first, first + block))
            background.call(store.append, part)
            bar.update(len(part))


def _faster(
    model: nn.Module, recipe: Recipe, acceleration: Acceleration
) -> tuple[nn.Module, Recipe, list[str]]:
    """The accelerated model, the recipe with the chunk size that it is for, and the notes."""
    images = recipe.references.images
    rows = slice(min(_SAMPLE, len(images)))
    settings = recipe.settings
    sample = images[rows].to(recipe.device, settings.dtype)
    example = sample
    if acceleration.cuda_graphs:
        chunk_size = settings.chunk_size or micro_batch(model, sample)
        example = sample[torch.arange(chunk_size) % len(sample)]
        settings = replace(settings, chunk_size=chunk_size)
    faster, notes = accelerate(model, example, acceleration)
    cast = acceleration.autocast
    if cast is not None:
        if f"{cast} autocast" not in notes:
            # The header says that it was cast.
            raise ValueError(f"the model does not run under autocast: {'; '.join(notes)}")
        here = replace(settings.at(images, rows), chunk_size=None)
        moved = autocast_distance(model, sample, cast, here)
        notes.append(f"{cast} autocast moves the field by a distance of {moved:.2g}")
    return faster, replace(recipe, settings=settings), notes


def _precision(dtype: str, acceleration: Acceleration | None) -> str:
    cast = None if acceleration is None else acceleration.autocast
    return dtype if cast is None else f"{dtype} under {cast} autocast"


def _is_there(path: Path, header: FieldHeader) -> bool:
    """Whether a sound store with this header is at `path`."""
    if not path.exists():
        return False
    try:
        with FieldStore(path) as store:
            if store.header != header:
                return False
            store.verify()
    except StoreError:
        return False
    return True
