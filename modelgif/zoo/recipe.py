"""References and settings together: the one way in which any model of a zoo is described."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from modelgif.fields.field_settings import FieldSettings, broadcast_baseline
from modelgif.fields.gradient_field import field_of, settled_target
from modelgif.fields.target import Target
from modelgif.loading.checkpoint import weights_sha256
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from modelgif.references.references import References
from modelgif.storage.field_header import FieldHeader, Storage
from modelgif.storage.versions import versions

ModelSource = str | nn.Module | Callable[[], nn.Module]


@dataclass(frozen=True, eq=False)
class Recipe:
    """Describes models at the same references with the same settings, some references at a time.

    Attributes:
        references: where.
        settings: of the fields, with labels and a baseline for all references.
        device: where to compute; a model elsewhere is copied there for each block and let go.

    Raises:
        ValueError: for labels or a baseline that do not fit the references.
    """

    references: References
    settings: FieldSettings
    device: torch.device | str = "cpu"
    _starts: Tensor = field(init=False, repr=False)
    _targets: "WeakKeyDictionary[nn.Module, Target]" = field(
        init=False, repr=False, default_factory=WeakKeyDictionary
    )

    def __post_init__(self) -> None:
        self.settings.check_labels(len(self.references))
        starts = broadcast_baseline(self.settings.baseline, self.references.images)
        object.__setattr__(self, "_starts", starts)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, S, *input_shape)`` of every field."""
        count, *inputs = self.references.images.shape
        return (count, self.settings.n_steps, *inputs)

    def block(self, numbers: int, n_models: int = 1) -> int:
        """Returns how many references make `numbers` numbers of fields, at least 1."""
        return max(1, numbers // max(1, n_models * torch.Size(self.shape[1:]).numel()))

    def field(self, model: nn.Module, rows: slice) -> Tensor:
        """Returns the field ``[n, S, *input_shape]`` of `model` at some references."""
        images = self.references.images
        # Rounded as the references are, so that a number starts where an image of it would.
        settings = replace(self.settings.at(images, rows), baseline=self._starts[rows])
        if self.settings.objective.settle is not None:
            if model not in self._targets:
                self._targets[model] = settled_target(
                    model, images, self.settings, device=self.device
                )
            settings = replace(settings, target=self._targets[model])
        return field_of(model, images[rows], settings, device=self.device)

    def header(
        self,
        name: str,
        model: nn.Module,
        *,
        storage: Storage | None = None,
        config_sha256: str = "",
    ) -> FieldHeader:
        """Returns what a store of the model's field says of it.

        Args:
            name: of the model, or its address.
            model: described.
            storage: precision of the store; by default as computed.
            config_sha256: of the configuration that asked for the field.
        """
        dtype = self.settings.dtype or torch.float32
        computed: Storage = "float64" if dtype == torch.float64 else "float32"
        return FieldHeader(
            model=name,
            weights_sha256=weights_sha256(model),
            dtype=str(dtype).removeprefix("torch."),
            storage=computed if storage is None else storage,
            references_sha256=self.references.sha256(),
            config_sha256=config_sha256,
            versions=versions(),
            preprocessing=model.preprocessing if isinstance(model, Preprocessed) else {},
            **self.settings.record(),
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
