"""Attribution maps: what each model's own prediction rests on. Needs gradients.

A map is a field of one step, and maps are compared as fields are. The last step of the gradient
field *is* the integrated gradient; what a whole field adds to it is the way there.

Source: Song et al., Deep Model Transferability from Attribution Maps, NeurIPS 2019, for comparing
models by maps; Simonyan et al., Deep Inside Convolutional Networks, 2014 (saliency); Shrikumar et
al., Not Just a Black Box, 2016 (gradient × input); Sundararajan et al., Axiomatic Attribution for
Deep Networks, ICML 2017 (integrated gradients).
"""

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from modelgif.distances.distance import distance, distance_per_reference
from modelgif.fields.field_settings import broadcast_baseline
from modelgif.fields.gradient_field import gradient_field
from modelgif.fields.model import Model
from modelgif.fields.target import resolve_target
from modelgif.methods._outputs import comparable, finite
from modelgif.methods.method import Method

MapKind = Literal["gradient", "saliency", "gradient_times_input", "integrated_gradients"]
KINDS: tuple[str, ...] = get_args(MapKind)

# Numbers of paths kept while integrating: 256 MiB of float32.
_BLOCK_NUMBERS = 2**26


def describe(
    model: Model,
    references: Tensor,
    *,
    kind: MapKind = "gradient_times_input",
    target: str | Tensor = "predicted_class",
    baseline: float | Tensor = 0.0,
    n_steps: int = 50,
    chunk_size: int | None = None,
) -> Tensor:
    """Returns the attribution maps of `model`, ``[N, 1, *input_shape]``.

    With the target f_t, the reference x and the baseline x':

    - ``gradient``: ∇f_t(x)
    - ``saliency``: |∇f_t(x)|
    - ``gradient_times_input``: (x − x') ⊙ ∇f_t(x), the usual one for a baseline of 0
    - ``integrated_gradients``: (x − x') ⊙ ∫ ∇f_t(x' + a (x − x')) da

    Args:
        model: as in `modelgif.gradient_field`.
        references: ``[N, *input_shape]``.
        kind: of map.
        target: the scalar that is differentiated: a name, or labels ``[N]``; see
            `modelgif.resolve_target`. By default the model's own prediction at x.
        baseline: a number, one input, or one per reference, as in `modelgif.gradient_field`;
            it does not change gradients and saliency.
        n_steps: Gauss–Legendre nodes of the integral.
        chunk_size: points per forward and backward pass.

    Raises:
        ValueError: for an unknown kind, or a map that is not finite, naming the reference; and as
            `modelgif.gradient_field`.
        TypeError: as `modelgif.gradient_field`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    if kind == "integrated_gradients":
        return _integrated(model, references, target, baseline, n_steps, chunk_size)
    gradient = input_gradient(model, references, target=target, chunk_size=chunk_size)
    if kind == "saliency":
        return gradient.abs()
    if kind == "gradient_times_input":
        x = references.detach().to(gradient)
        return gradient * (x - broadcast_baseline(baseline, x))[:, None]
    return gradient


def per_reference(a: Tensor, b: Tensor) -> Tensor:
    """Returns the contribution of each reference to `compare`, float64 ``[N]``, whose mean it is.

    Raises:
        ValueError: as `compare`.
    """
    comparable(a, b, "attribution maps")
    return distance_per_reference(a, b)


def compare(a: Tensor, b: Tensor) -> float:
    """Returns the mean over references of one minus the cosine of two maps, in [0, 2].

    Two zero maps are at 0, a zero map and another at 1.

    Raises:
        ValueError: for maps whose shapes do not match, or that are not finite.

    Warns:
        ZeroCellWarning: for maps that are zero, with their number.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.2, 0.8], [0.9, 0.4], [0.6, 0.1], [0.3, 0.5]])
        >>> victim, suspect = torch.diag(torch.tensor([2.0, 1.0])), torch.ones(2, 2).triu()
        >>> a, b = describe(lambda z: z @ victim, x), describe(lambda z: z @ suspect, x)
        >>> round(compare(a, b), 4)
        0.1538
    """
    comparable(a, b, "attribution maps")
    return distance(a, b)


def input_gradient(
    model: Model,
    references: Tensor,
    *,
    target: str | Tensor = "predicted_class",
    chunk_size: int | None = None,
) -> Tensor:
    """Returns the gradient of the target at each reference, ``[N, 1, *input_shape]``.

    Raises:
        ValueError: for a gradient that is not finite, naming the reference; and as
            `modelgif.gradient_field`, which also gives the other errors.
    """
    # A path from x to x has one gradient, and the one weight of a rule of one node is 1.
    found = gradient_field(
        model,
        references,
        target=target,
        baseline=references,
        n_steps=1,
        scale_by_path=False,
        chunk_size=chunk_size,
    )
    return finite(found, "gradient")


def _integrated(
    model: Model,
    references: Tensor,
    target: str | Tensor,
    baseline: float | Tensor,
    n_steps: int,
    chunk_size: int | None,
) -> Tensor:
    n_labels = resolve_target(target).n_labels
    if n_labels not in (None, len(references)):
        raise ValueError(f"{n_labels} labels do not fit {len(references)} references.")
    starts = broadcast_baseline(baseline, references)
    # A whole path is thrown away but for its end, so that few are held at once.
    size = max(1, _BLOCK_NUMBERS // max(1, n_steps * references.shape[1:].numel()))
    parts = []
    # At least once, so that no references at all are refused there.
    for first in range(0, max(1, len(references)), size):
        rows = slice(first, first + size)
        path = gradient_field(
            model,
            references[rows],
            target=target[rows] if isinstance(target, Tensor) else target,
            baseline=starts[rows],
            n_steps=n_steps,
            chunk_size=chunk_size,
        )
        parts.append(path[:, -1:].clone())
    return finite(torch.cat(parts), "integrated gradient")


def _maps(name: str, compares: str, source: str, kind: MapKind, *, uses_baseline: bool) -> Method:
    return Method(
        name,
        compares,
        partial(describe, kind=kind),
        compare,
        per_reference=per_reference,
        access="gradients",
        bounds=(0.0, 2.0),
        uses_baseline=uses_baseline,
        source=source,
    )


METHODS = (
    _maps(
        *("gradient", "maps of the gradient", "Song et al., NeurIPS 2019"),
        "gradient",
        uses_baseline=False,
    ),
    _maps(
        *("saliency", "maps of the gradient's magnitude", "Simonyan et al., 2014"),
        "saliency",
        uses_baseline=False,
    ),
    _maps(
        *("gradient_input", "maps of gradient × input", "Shrikumar et al., 2016"),
        "gradient_times_input",
        uses_baseline=True,
    ),
    _maps(
        *("integrated_gradients", "maps of integrated gradients", "Sundararajan et al., ICML 2017"),
        "integrated_gradients",
        uses_baseline=True,
    ),
)
