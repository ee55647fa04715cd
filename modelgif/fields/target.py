"""Targets: which scalar of a model's output is differentiated.

A *frozen* target is a set of output positions chosen once, from the output at the reference, and
kept along the whole path, so that the field describes one function. Its value is the sum of the
output over these positions, or the class contrast there. A callable target is evaluated anew at
every path point. Where the value is not finite, its gradient is NaN: no field speaks for a model
that gives no numbers.
"""

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modelgif.fields.class_contrast import (
    check_has_contrast,
    class_contrast,
    output_kind,
    output_scale,
    predicted_classes,
)

Positions = Callable[[Tensor, slice], Tensor]


def selected_sum(output: Tensor, positions: Tensor) -> Tensor:
    """Returns the sum ``[B]`` of `output` ``[B, ...]`` over `positions` ``[B, K]``."""
    return _nan_where_not_finite(output.flatten(1).gather(1, positions).sum(1))


@dataclass(frozen=True)
class Target:
    """A named scalar objective per sample; exactly one of `positions` and `value` is given.

    Attributes:
        name: what a field store records, so that fields of different targets are never compared.
        positions: frozen targets: from the output at some references (``[B, ...]``) and the rows
            these are among all references, the positions ``[B, K]`` in the flattened output.
        value: other targets: from the output at any points (``[B, ...]``) the objective ``[B]``.
        n_labels: how many references a tensor of labels is for.
        at_positions: frozen targets: from the output at any points and the positions ``[B, K]``,
            the objective ``[B]``.
        settle: targets that depend on what kind of outputs a model gives: from the outputs at all
            references, the target to use for this model, see `settled`.

    Example:
        >>> spread = Target("spread", value=lambda output: output.var(1))
        >>> spread.value(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
        tensor([2., 0.])
    """

    name: str
    positions: Positions | None = None
    value: Callable[[Tensor], Tensor] | None = None
    n_labels: int | None = None
    at_positions: Callable[[Tensor, Tensor], Tensor] = selected_sum
    settle: "Callable[[Tensor], Target] | None" = None

    def settled(self, answers: Tensor) -> "Target":
        """Returns the target for a model that gives `answers` ``[N, ...]`` at the references.

        Only ``class_contrast`` depends on them. Settled once at all references, it is the same in
        every block of them; its name stays, because fields of models that give logits and of those
        that give probabilities are comparable.
        """
        return self if self.settle is None else self.settle(answers)


def resolve_target(target: "str | Tensor | Callable[[Tensor], Tensor] | Target") -> Target:
    """Returns the `Target` that a name, a tensor of labels, or a callable stands for.

    Names, for outputs ``[B, C]`` or ``[B, C, H, W]`` unless said otherwise:

    - ``predicted_class``: the class of largest score at the reference; ``[B, C]`` only
    - ``class_contrast``: the score of the class that is largest at the reference, less the mean of
      all classes' scores, on the scale of logits whatever the model gives, see
      `modelgif.fields.class_contrast`; of dense outputs, the sum over all positions
    - ``output_sum``: the sum of all outputs
    - ``channel_peaks`` or ``channel_peaks:K``: in each channel, the 1 or K positions of largest
      value at the reference (the paper's default for Taskonomy)
    - ``position_max``: at each position, the channel of largest value at the reference
    - ``global_peak``: the single largest output at the reference

    Labels are an integer tensor: ``[N]`` for outputs ``[B, C]``, ``[N, H, W]`` for dense ones.
    A callable maps outputs ``[B, ...]`` to objectives ``[B]``.

    Raises:
        ValueError: for an unknown name or a bad K.
        TypeError: for anything else that is not a target.

    Example:
        >>> resolve_target("channel_peaks").name
        'channel_peaks:1'
        >>> resolve_target(torch.tensor([3, 1, 4])).n_labels
        3
    """
    if isinstance(target, Target):
        return target
    if isinstance(target, Tensor):
        return _labels(target)
    if isinstance(target, str):
        name, _, k = target.partition(":")
        if name == "channel_peaks":
            if k and not (k.isdecimal() and int(k) >= 1):
                raise ValueError(
                    f"channel_peaks:K needs a whole number K of at least 1, got {target!r}."
                )
            return _channel_peaks(int(k or 1))
        if target in _NAMED:
            return _NAMED[target]
        known = [*_NAMED, "channel_peaks"]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"target must be one of {', '.join(known)}, got {target!r}.{hint}")
    if callable(target):
        name = getattr(target, "__qualname__", type(target).__qualname__)
        return Target(f"callable:{target.__module__}.{name}", value=_nan_unless_finite(target))
    raise TypeError(
        f"target must be a name, a tensor of labels or a callable, got {type(target).__name__}."
    )


def _nan_where_not_finite(value: Tensor) -> Tensor:
    """The same values, whose gradient is NaN where they are not finite.

    A last layer with a NaN for a bias has a gradient without one.
    """
    return value * (value.detach() * 0 + 1)


def _nan_unless_finite(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda output: _nan_where_not_finite(function(output))


def _scores(output: Tensor, target: str) -> Tensor:
    """The output as ``[B, C, P]`` with P positions."""
    if output.ndim == 2:
        return output.unsqueeze(2)
    if output.ndim == 4:
        return output.flatten(2)
    raise ValueError(
        f"{target} needs outputs [B, C] or [B, C, H, W], got {list(output.shape)}; "
        "pass a callable that maps the outputs to one number per sample."
    )


def _predicted_class(output: Tensor, _rows: slice) -> Tensor:
    if output.ndim != 2:
        raise ValueError(
            f"predicted_class needs one score per class, [B, C], got {list(output.shape)}; "
            "for dense outputs use position_max, channel_peaks or global_peak."
        )
    return output.argmax(1, keepdim=True)


def _position_max(output: Tensor, _rows: slice) -> Tensor:
    scores = _scores(output, "position_max")
    n_positions = scores.shape[2]
    return scores.argmax(1) * n_positions + torch.arange(n_positions, device=output.device)


def _class_contrast(answers: Tensor) -> Target:
    check_has_contrast(output_kind(answers))
    scale = output_scale(answers)

    def value(output: Tensor, classes: Tensor) -> Tensor:
        return _nan_where_not_finite(class_contrast(output, classes, scale))

    return Target("class_contrast", positions=_predicted_classes, at_positions=value)


def _predicted_classes(output: Tensor, _rows: slice) -> Tensor:
    return predicted_classes(output)


def _global_peak(output: Tensor, _rows: slice) -> Tensor:
    return output.flatten(1).argmax(1, keepdim=True)


def _channel_peaks(k: int) -> Target:
    def positions(output: Tensor, _rows: slice) -> Tensor:
        scores = _scores(output, "channel_peaks")
        _, n_channels, n_positions = scores.shape
        if k > n_positions:
            raise ValueError(
                f"channel_peaks:{k} needs at least {k} positions in a channel, "
                f"the output {list(output.shape)} has {n_positions}."
            )
        offset = torch.arange(n_channels, device=output.device)[:, None] * n_positions
        return (scores.topk(k, dim=2).indices + offset).flatten(1)

    return Target(f"channel_peaks:{k}", positions=positions)


def _labels(labels: Tensor) -> Target:
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be whole numbers, got dtype {labels.dtype}.")
    if labels.ndim == 0:
        raise ValueError("labels must be one per reference, [N] or [N, H, W], got a single number.")
    labels = labels.long()

    def positions(output: Tensor, rows: slice) -> Tensor:
        scores = _scores(output, "a tensor of labels")
        n_classes, n_positions = scores.shape[1:]
        chosen = labels[rows].to(output.device)
        if chosen.shape != (output.shape[0], *output.shape[2:]):
            raise ValueError(
                f"labels of shape {list(labels.shape)} do not fit outputs "
                f"[N, {', '.join(map(str, output.shape[1:]))}]: expected one label per reference"
                f"{' and position' if output.ndim == 4 else ''}."
            )
        if ((chosen < 0) | (chosen >= n_classes)).any():
            raise ValueError(
                f"labels must lie in 0..{n_classes - 1} (the model has {n_classes} outputs), "
                f"got {chosen.min().item()}..{chosen.max().item()}."
            )
        chosen = chosen.flatten(1) if chosen.ndim > 1 else chosen[:, None]
        return chosen * n_positions + torch.arange(n_positions, device=output.device)

    content = repr(tuple(labels.shape)).encode() + labels.cpu().contiguous().numpy().tobytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return Target(f"labels:{digest}", positions=positions, n_labels=len(labels))


def _output_sum(output: Tensor) -> Tensor:
    return _nan_where_not_finite(output.flatten(1).sum(1))


_NAMED = {
    "predicted_class": Target("predicted_class", positions=_predicted_class),
    "class_contrast": Target(
        "class_contrast", positions=_predicted_classes, settle=_class_contrast
    ),
    "output_sum": Target("output_sum", value=_output_sum),
    "position_max": Target("position_max", positions=_position_max),
    "global_peak": Target("global_peak", positions=_global_peak),
}
