"""Gradient fields: how a model's output grows along the path to each reference."""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from modelgif.fields.batch_size import in_chunks, micro_batch
from modelgif.fields.channels_last import FastLayout
from modelgif.fields.field_settings import AnyTarget, FieldSettings, broadcast_baseline
from modelgif.fields.model import Model, frozen, scores
from modelgif.fields.number_format import compute_dtype, gradients_or_error, refuse_quantised
from modelgif.fields.quadrature import Rule
from modelgif.fields.target import Target


def gradient_field(
    model: Model,
    references: Tensor,
    *,
    target: AnyTarget = "predicted_class",
    baseline: float | Tensor = 0.0,
    n_steps: int = 50,
    rule: Rule = "gausslegendre",
    cumulative: bool = True,
    scale_by_path: bool = True,
    chunk_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Returns the gradient field of `model` at `references`, ``[N, S, *input_shape]``.

    With nodes ``a_k``, weights ``w_k`` and gradients ``g_k = ∇f_t(x' + a_k (x - x'))``:

    - cumulative: ``φ_k = (x - x') ⊙ Σ_{j≤k} w_j g_j``, whose last step is the integrated gradient
    - per step: ``φ_k = (x - x') ⊙ w_k g_k``
    - `scale_by_path` false: without the factor ``(x - x')``

    (``gaussradau`` replaces the running sum by true partial integrals, see
    `modelgif.fields.quadrature`.) The model runs in evaluation mode and is left as it was found:
    mode, ``requires_grad``, ``.grad``, hooks. Beside the result, memory is bounded by one chunk and
    one reference's field in float64, whatever ``N`` is.

    Args:
        model: maps ``[B, *input_shape]`` to scores ``[B, C]`` or ``[B, C, H, W]``, each sample
            independently of the others. A one-element tuple, or a mapping or dataclass whose only
            tensor or whose ``logits`` are the scores, is unwrapped.
        references: ``[N, *input_shape]``.
        target: what is differentiated, see `modelgif.resolve_target`.
        baseline: start of the path: a number, one input ``[*input_shape]`` or
            ``[1, *input_shape]`` (or broadcastable to it, such as a mean per channel
            ``[1, C, 1, 1]``), or one per reference ``[N, *input_shape]``.
        n_steps: number ``S`` of nodes on the path.
        rule: quadrature rule on the path, see `modelgif.quadrature`.
        cumulative: whether steps accumulate along the path.
        scale_by_path: whether the field is multiplied by ``x - x'``.
        chunk_size: path points per forward and backward pass, which may cut a reference's path.
            By default what is fastest on the CPU, and elsewhere what fills the device and fits into
            its free memory, see `modelgif.fields.batch_size`; halved when memory runs out all the
            same. It changes the result by rounding only.
        device: where to compute and return the field; by default where the model's weights are.
            A model elsewhere is copied there.
        dtype: precision of computation and result; by default that of the weights, but no less
            than float32.

    Raises:
        ValueError: for shapes, labels or numbers that do not fit.
        TypeError: for an output that is not one tensor of scores, or does not depend
            differentiably on the input, as that of a quantised model.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
        >>> gradient_field(model, torch.rand(5, 1, 2, 2), n_steps=8).shape
        torch.Size([5, 8, 1, 2, 2])

    Source: Song et al., ModelGiF: Gradient Fields for Model Functional Distance, ICCV 2023,
    section 3; integrated gradients after Sundararajan et al., ICML 2017.
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
    return field_of(model, references, settings, device=device)


def field_of(
    model: Model,
    references: Tensor,
    settings: FieldSettings,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Returns `gradient_field` with `settings`, whose labels and baseline are of `references`."""
    if references.ndim < 2 or len(references) == 0:
        raise ValueError(
            f"references must be a non-empty batch [N, *input_shape], got {list(references.shape)}."
        )
    settings.check_labels(len(references))
    name = getattr(model, "address", "") or getattr(model, "__name__", type(model).__name__)
    refuse_quantised(model, name)
    # Copies and tensors are made outside any inference mode of the caller, or autograd would refuse
    # them.
    with torch.inference_mode(False):
        model, device, dtype = _placed(model, references, device, settings.dtype)
        x = references.detach().to(device, dtype)
        start = broadcast_baseline(settings.baseline, x)
        if x.is_inference() or start.is_inference():
            x, start = x.clone(), start.clone()
    objective, n_steps = settings.objective, settings.n_steps
    with torch.inference_mode(False), frozen(model), gradients_or_error(name):
        chunk_size = micro_batch(model, x) if settings.chunk_size is None else settings.chunk_size
        objective, positions = _frozen_positions(model, x, objective, chunk_size)
        field = x.new_empty(len(x), n_steps, *x.shape[1:])
        gradients = field.flatten(0, 1)
        nodes = settings.points.nodes.to(x)

        def describe(layout: FastLayout, first: int, stop: int) -> None:
            point = torch.arange(first, stop, device=x.device)
            row, step = point // n_steps, point % n_steps
            share = nodes[step].reshape(-1, *[1] * (x.ndim - 1))
            path = torch.lerp(start[row], x[row], share)
            chosen = None if positions is None else positions[row]
            try:
                laid = path.contiguous(memory_format=layout.format)
                gradient = _gradient(model, laid, objective, chosen)
            except RuntimeError as error:
                if not layout.refused_by(error):
                    raise
                layout.give_back()
                gradient = _gradient(model, path, objective, chosen)
            gradients[first:stop] = gradient

        with FastLayout(model, x) as layout:
            in_chunks(len(gradients), chunk_size, partial(describe, layout))
        points = settings.points
        weights = points.partial if settings.cumulative else points.weights.diag()
        _integrate(field, weights, x - start if settings.scale_by_path else None)
    return field


def settled_target(
    model: Model,
    references: Tensor,
    settings: FieldSettings,
    *,
    device: torch.device | str | None = None,
) -> Target:
    """Returns the target of `settings` as it is for this model, told once at all `references`.

    `field_of` settles a target that depends on what a model answers at the references it is given;
    a field that is computed block by block is to have one target throughout.
    """
    if settings.objective.settle is None:
        return settings.objective
    with torch.inference_mode(False):
        model, device, dtype = _placed(model, references, device, settings.dtype)
        x = references.detach().to(device, dtype)
    with torch.inference_mode(False), frozen(model):
        chunk_size = micro_batch(model, x) if settings.chunk_size is None else settings.chunk_size
        return _frozen_positions(model, x, settings.objective, chunk_size)[0]


def _integrate(field: Tensor, weights: Tensor, path: Tensor | None) -> None:
    """Turns the gradients in `field` ``[N, S, *]`` into the field, in place and in float64.

    Float64 keeps a long sum exact to rounding, and is never replaced by TF32.
    """
    weights = weights.to(field.device)
    for row in range(len(field)):
        summed = weights @ field[row].flatten(1).double()
        if path is not None:
            summed *= path[row].flatten().double()
        field[row] = summed.reshape(field[row].shape)


def _gradient(model: Model, path: Tensor, objective: Target, positions: Tensor | None) -> Tensor:
    with torch.enable_grad():
        path.requires_grad_()
        # A copy, because a model that begins with an in-place operation may not touch a leaf.
        output = scores(model(path.clone()), len(path))
        if positions is not None:
            value = objective.at_positions(output, positions)
        else:
            assert objective.value is not None
            value = objective.value(output)
            if value.shape != (len(path),):
                raise ValueError(
                    f"the target {objective.name} must give one number per sample, "
                    f"[{len(path)}], got {list(value.shape)}."
                )
        if not value.requires_grad:
            raise TypeError(
                "the model's output does not depend differentiably on its input: return the scores "
                "themselves, not detached ones and not an argmax."
            )
        (gradient,) = torch.autograd.grad(value.sum(), path, allow_unused=True)
    return torch.zeros_like(path) if gradient is None else gradient


def _frozen_positions(
    model: Model, x: Tensor, objective: Target, chunk_size: int
) -> tuple[Target, Tensor | None]:
    """The target, settled for this model, and the positions at which it is frozen."""
    if objective.positions is None:
        return objective, None
    choose, chosen, answers = objective.positions, [], []

    def describe(first: int, stop: int) -> None:
        rows = slice(first, stop)
        output = scores(model(x[rows].clone()), stop - first)
        chosen.append(choose(output, rows))
        if objective.settle is not None:
            answers.append(output)

    with torch.no_grad():
        in_chunks(len(x), chunk_size, describe)
    return objective.settled(torch.cat(answers)) if answers else objective, torch.cat(chosen)


def _placed(
    model: Model,
    references: Tensor,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> tuple[Model, torch.device, torch.dtype]:
    """The model, copied if it is not on the wanted device in the wanted precision."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    weights = next((t for t in tensors if t.is_floating_point()), references)
    own = weights.device, weights.dtype
    device = own[0] if device is None else torch.device(device)
    enough = compute_dtype(model) if isinstance(model, nn.Module) else None
    if dtype is None:
        dtype = enough or own[1]
    if not dtype.is_floating_point:
        raise TypeError(f"references must be floating-point, got dtype {dtype}.")
    # "cuda" and "cuda:0" are one place but unequal devices; a tensor made there knows its own.
    device = torch.empty(0, device=device).device
    # Where some weights are coarse, the first may not be.
    if isinstance(model, nn.Module) and ((device, dtype) != own or enough):
        model = copy.deepcopy(model).to(device, dtype)
    return model, device, dtype
