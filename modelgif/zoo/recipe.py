"""The settings of a field and its references together: what describes any model of a zoo."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from modelgif.fields.gradient_field import broadcast_baseline, gradient_field
from modelgif.fields.quadrature import Rule
from modelgif.fields.target import Target, resolve_target
from modelgif.loading.checkpoint import weights_sha256
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from modelgif.references.references import References
from modelgif.storage.field_header import FieldHeader
from modelgif.storage.versions import versions
from modelgif.zoo.extract import ModelSource, baseline_description


@dataclass(frozen=True)
class Describer:
    """Describes models at the same references with the same settings, some references at a time.

    Attributes:
        references: where.
        target: this and the following as in `modelgif.gradient_field`.
        baseline: a number, one input or one per reference.
        n_steps: nodes on the path.
        rule: quadrature rule.
        cumulative: whether steps accumulate.
        scale_by_path: whether to multiply by ``x - x'``.
        chunk_size: path points per pass.
        device: where to compute; a model elsewhere is copied there for each block and let go.
        dtype: precision of computation.

    Raises:
        ValueError: for an unknown target, or labels or a baseline that do not fit the references.
    """

    references: References
    target: str | Tensor | Target = "predicted_class"
    baseline: float | Tensor = 0.0
    n_steps: int = 50
    rule: Rule = "gausslegendre"
    cumulative: bool = True
    scale_by_path: bool = True
    chunk_size: int | None = None
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    _objective: Target = field(init=False, repr=False)
    _starts: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        objective, count = resolve_target(self.target), len(self.references)
        if objective.n_labels not in (None, count):
            raise ValueError(f"{objective.n_labels} labels do not fit {count} references.")
        object.__setattr__(self, "_objective", objective)
        starts = broadcast_baseline(self.baseline, self.references.images)
        object.__setattr__(self, "_starts", starts)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, S, *input_shape)`` of every field."""
        count, *inputs = self.references.images.shape
        return (count, self.n_steps, *inputs)

    def block(self, numbers: int, n_models: int = 1) -> int:
        """Returns how many references make `numbers` numbers of fields, at least 1."""
        return max(1, numbers // max(1, n_models * torch.Size(self.shape[1:]).numel()))

    def field(self, model: nn.Module, rows: slice) -> Tensor:
        """Returns the field ``[n, S, *input_shape]`` of `model` at some references."""
        target = self.target[rows] if isinstance(self.target, Tensor) else self._objective
        return gradient_field(
            model,
            self.references.images[rows],
            target=target,
            baseline=self._starts[rows],
            n_steps=self.n_steps,
            rule=self.rule,
            cumulative=self.cumulative,
            scale_by_path=self.scale_by_path,
            chunk_size=self.chunk_size,
            device=self.device,
            dtype=self.dtype,
        )

    def header(self, name: str, model: nn.Module) -> FieldHeader:
        """Returns what a store of the model's field would say of it."""
        return FieldHeader(
            model=name,
            weights_sha256=weights_sha256(model),
            target=self._objective.name,
            baseline=baseline_description(self.baseline),
            rule=self.rule,
            n_steps=self.n_steps,
            cumulative=self.cumulative,
            scale_by_path=self.scale_by_path,
            dtype=str(self.dtype).removeprefix("torch."),
            storage="float64" if self.dtype == torch.float64 else "float32",
            references_sha256=self.references.sha256(),
            config_sha256="",
            versions=versions(),
            preprocessing=model.preprocessing if isinstance(model, Preprocessed) else {},
        )


def with_ids(references: References | Tensor) -> References:
    """Returns the references, those of a tensor named by position."""
    if isinstance(references, References):
        return references
    return References(references, tuple(str(i) for i in range(len(references))))


def make_model(source: ModelSource) -> nn.Module:
    """Returns the model of an address or a function; a module is itself."""
    if isinstance(source, str):
        return load_model(source)
    return source if isinstance(source, nn.Module) else source()
