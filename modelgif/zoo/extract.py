"""Extraction: the fields of many models at the same references, as field stores."""

import copy
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from modelgif.fields.acceleration import Acceleration, accelerate, autocast_distance
from modelgif.fields.batch_size import micro_batch
from modelgif.fields.gradient_field import broadcast_baseline, gradient_field
from modelgif.fields.quadrature import Rule
from modelgif.fields.target import Target, resolve_target
from modelgif.loading.checkpoint import weights_sha256
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from modelgif.references.references import References
from modelgif.storage.field_store import FieldHeader, FieldStore, Storage, StoreError
from modelgif.storage.versions import versions
from modelgif.zoo.background_writer import Background

ModelSource = str | nn.Module | Callable[[], nn.Module]

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
    target: str | Tensor | Target = "predicted_class",
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
        ValueError: for a model's name that is no file name, an unknown target, or labels or a
            baseline that do not fit the references.
    """
    for name in models:
        if not name or set(name) - _NAME_CHARACTERS or name.startswith("."):
            raise ValueError(
                f"a model's name becomes a file name: use letters, digits and '._-', got {name!r}."
            )
    if isinstance(references, Tensor):
        references = References(references, tuple(str(i) for i in range(len(references))))
    objective = resolve_target(target)
    options: dict[str, Any] = dict(
        rule=rule, n_steps=n_steps, cumulative=cumulative, scale_by_path=scale_by_path
    )
    settings: dict[str, Any] = dict(
        options,
        target=objective.name,
        baseline=baseline_description(baseline),
        dtype=_precision(dtype, acceleration),
        storage=storage,
        references_sha256=references.sha256(),
        config_sha256=config_sha256,
        versions=versions(),
    )
    images = references.images
    starts = broadcast_baseline(baseline, images)
    if objective.n_labels not in (None, len(images)):
        raise ValueError(f"{objective.n_labels} labels do not fit {len(images)} references.")
    block = max(1, _BLOCK_NUMBERS // (n_steps * images[0].numel()))
    done = Extraction()
    with tqdm(total=len(models) * len(images), unit="reference", disable=not progress) as bar:
        for count, (name, source) in enumerate(models.items(), start=1):
            bar.set_description(name)
            path = Path(folder) / f"{name}.h5"
            try:
                model = _model(source)
                header = FieldHeader(
                    model=source if isinstance(source, str) else name,
                    weights_sha256=weights_sha256(model),
                    preprocessing=model.preprocessing if isinstance(model, Preprocessed) else {},
                    **settings,
                )
                if _is_there(path, header):
                    done.skipped.append(name)
                else:
                    model = model.to(device, dtype)
                    if acceleration is not None:
                        sample = slice(min(_SAMPLE, len(images)))
                        goal = target[sample] if isinstance(target, Tensor) else objective
                        here = dict(options, target=goal, baseline=starts[sample])
                        model, chunk_size, done.notes[name] = _faster(
                            model, images[sample].to(device, dtype), acceleration, chunk_size, here
                        )
                    with (
                        FieldStore.create(path, header, references.ids, images.shape[1:]) as store,
                        Background(device) as background,
                    ):
                        for first in range(0, len(images), block):
                            rows = slice(first, first + block)
                            part = gradient_field(
                                model,
                                images[rows],
                                target=target[rows] if isinstance(target, Tensor) else objective,
                                baseline=starts[rows],
                                chunk_size=chunk_size,
                                **options,
                            )
                            background.call(store.append, part)
                            bar.update(len(part))
                done.stores[name] = path
            except Exception as error:
                # One bad model must not lose the others: the caller sees every reason at the end.
                done.failed[name] = f"{type(error).__name__}: {error}"
            bar.update(count * len(images) - bar.n)
    return done


def _model(source: ModelSource) -> nn.Module:
    if isinstance(source, str):
        return load_model(source)
    return copy.deepcopy(source) if isinstance(source, nn.Module) else source()


def _faster(
    model: nn.Module,
    sample: Tensor,
    acceleration: Acceleration,
    chunk_size: int | None,
    options: dict[str, Any],
) -> tuple[nn.Module, int | None, list[str]]:
    """The accelerated model, the chunk size that it is for, and the notes."""
    example = sample
    if acceleration.cuda_graphs:
        chunk_size = chunk_size or micro_batch(model, sample)
        example = sample[torch.arange(chunk_size) % len(sample)]
    faster, notes = accelerate(model, example, acceleration)
    cast = acceleration.autocast
    if cast is not None:
        if f"{cast} autocast" not in notes:
            # The header says that it was cast.
            raise ValueError(f"the model does not run under autocast: {'; '.join(notes)}")
        moved = autocast_distance(model, sample, cast, **options)
        notes.append(f"{cast} autocast moves the field by a distance of {moved:.2g}")
    return faster, chunk_size, notes


def _precision(dtype: torch.dtype, acceleration: Acceleration | None) -> str:
    name = str(dtype).removeprefix("torch.")
    cast = None if acceleration is None else acceleration.autocast
    return name if cast is None else f"{name} under {cast} autocast"


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


def baseline_description(baseline: float | Tensor) -> str:
    """Returns what a store records of a baseline: a number, or the digest of a tensor."""
    if isinstance(baseline, Tensor):
        return f"sha256:{weights_sha256({'baseline': baseline})[:16]}"
    return repr(float(baseline))
