"""The settings of a gradient field, as one object that is checked once and passed on."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from modelgif.fields.quadrature import Quadrature, Rule, quadrature
from modelgif.fields.target import Target, resolve_target
from modelgif.storage.digest import tensors_sha256

AnyTarget = str | Tensor | Callable[[Tensor], Tensor] | Target


@dataclass(frozen=True, eq=False)
class FieldSettings:
    """How a gradient field is computed, wherever and of whatever model.

    Attributes:
        target: what is differentiated, see `modelgif.resolve_target`.
        baseline: start of the path, see `modelgif.gradient_field`.
        n_steps: number ``S`` of nodes on the path.
        rule: quadrature rule on the path.
        cumulative: whether steps accumulate along the path.
        scale_by_path: whether the field is multiplied by ``x - x'``.
        chunk_size: path points per forward and backward pass; None for what is fastest.
        dtype: precision of computation; None for the model's own.
        objective: the target, resolved.
        points: nodes and weights of the path.

    Raises:
        ValueError: for an unknown target or rule, or a number out of range.
        TypeError: for what is not a target.

    Example:
        >>> settings = FieldSettings(baseline=0.5, n_steps=8)
        >>> settings.objective.name, len(settings.points.nodes)
        ('predicted_class', 8)
    """

    target: AnyTarget = "predicted_class"
    baseline: float | Tensor = 0.0
    n_steps: int = 50
    rule: Rule = "gausslegendre"
    cumulative: bool = True
    scale_by_path: bool = True
    chunk_size: int | None = None
    dtype: torch.dtype | None = None
    objective: Target = field(init=False, repr=False)
    points: Quadrature = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", quadrature(self.rule, self.n_steps))
        object.__setattr__(self, "objective", resolve_target(self.target))
        if self.chunk_size is not None and self.chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1, got {self.chunk_size}.")

    def check_labels(self, n_references: int) -> None:
        """Checks that there is a label for each of so many references, where the target is labels.

        Raises:
            ValueError: when there is not.
        """
        if self.objective.n_labels not in (None, n_references):
            raise ValueError(
                f"{self.objective.n_labels} labels do not fit {n_references} references: expected "
                "one label, or one map of labels, per reference."
            )

    def at(self, references: Tensor, rows: slice) -> "FieldSettings":
        """Returns the settings for some of the references, with their labels and their starts."""
        each = isinstance(self.baseline, Tensor) and self.baseline.ndim == references.ndim
        return replace(
            self,
            target=self.target[rows] if isinstance(self.target, Tensor) else self.objective,
            baseline=broadcast_baseline(self.baseline, references)[rows] if each else self.baseline,
        )

    def record(self) -> dict[str, Any]:
        """Returns what a field store records of the settings; the chunk size changes rounding only.

        Example:
            >>> FieldSettings(baseline=0.5, n_steps=8).record()["baseline"]
            '0.5'
        """
        return {
            "target": self.objective.name,
            "baseline": baseline_description(self.baseline),
            "rule": self.rule,
            "n_steps": self.n_steps,
            "cumulative": self.cumulative,
            "scale_by_path": self.scale_by_path,
        }


def baseline_description(baseline: float | Tensor) -> str:
    """Returns what a store records of a baseline: a number, or the digest of a tensor."""
    if isinstance(baseline, Tensor):
        return f"sha256:{tensors_sha256({'baseline': baseline})[:16]}"
    return repr(float(baseline))


def broadcast_baseline(baseline: float | Tensor, x: Tensor) -> Tensor:
    """Returns the start of each reference's path as a view ``[N, *input_shape]``, like `x`.

    Raises:
        ValueError: for a tensor that fits neither one reference nor all of them.
    """
    if not isinstance(baseline, Tensor):
        return x.new_tensor(baseline).broadcast_to(x.shape)
    # [W] or [H, W] would broadcast, too, but hardly as meant.
    if baseline.ndim in (x.ndim - 1, x.ndim):
        try:
            return baseline.detach().to(x).broadcast_to(x.shape)
        except RuntimeError:
            pass
    raise ValueError(
        f"a baseline of shape {list(baseline.shape)} fits neither one reference "
        f"{list(x.shape[1:])} nor all of them {list(x.shape)}."
    )
