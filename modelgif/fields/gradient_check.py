"""Whether a model's gradients are those of its outputs.

A gradient is a claim: code of a model's owner may pass back anything. Along any direction v it must
equal the central difference of the outputs, (f(p + h v) - f(p - h v)) / 2h, and along the path from
baseline to reference it must add up to f(x) - f(x'). A model for which it does not has no field.

Central differences are taken in float64, in which steps are small enough to meet no kink of a
network; a model that cannot be cast is checked in its own precision, with larger steps. Points lie
a little beside the path, where no two inputs are tied by the flat areas of an image: there a
gradient may be any of several, and none is the central difference.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from modelgif.fields.field_settings import AnyTarget, broadcast_baseline
from modelgif.fields.gradient_field import gradient_field
from modelgif.fields.model import Model, frozen, scores
from modelgif.fields.number_format import compute_dtype
from modelgif.fields.target import Target, resolve_target

# Measured on honest networks of many kinds, see benchmarks/gradient_check.py.
SLOPE_TOLERANCE = 0.1
PATH_TOLERANCE = 0.1
OUTPUT_TOLERANCE = 0.02
PRECISION_TOLERANCE = 0.05
# Steps of central differences, in units of the typical |x - x'| of a pixel.
_FINE_STEPS = (1e-5, 1e-6, 1e-7, 1e-4, 1e-3, 1e-2)
_COARSE_STEPS = (1e-3, 1e-2, 1e-1)
# Of how many units in the last place of the largest output a difference may be off.
_ROUNDING = 100
_JITTER = 1e-2
# Gauss-Legendre nodes of the whole path and of a segment, how often the worst segments are cut in
# half, and how many of them. Cut so often, a layer norm with an epsilon of 1e-12 is smooth.
_NODES_OF_PATH, _NODES, _ROUNDS, _CUTS = 12, 4, 22, 2
_UNSUITED = (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError)
_WAY_OUT = (
    "Judge the model without its field, by its labels, or describe its weights in code that you "
    "have read."
)


@dataclass(frozen=True)
class GradientCheck:
    """What the check of a model's gradients found.

    Attributes:
        sound: whether the gradients are those of the outputs, as far as was seen.
        reason: why not, with the way out, to be put behind the model's name and a colon; empty
            when sound.
        needs_float64: whether the gradients in the model's own precision are others than those in
            float64, as where probabilities underflow. These were checked: a sound model's field
            then takes ``dtype=torch.float64``.
        slope_error: how far g·v is from the central difference, relative to the larger of the two:
            0 for equal, 1 for no relation; the worst of all points.
        path_error: the part of the path's length in the target that its gradients do not add up to,
            however finely it is cut; the worst of all references. 0 where the slopes were enough.
        output_error: how far the outputs with gradients enabled are from those without, or those
            in float64 from those in the model's own precision, relative to the outputs' spread.
        precision_error: how far the gradients in the model's own precision are from those in
            float64, relative to their length; the median over points. 0 where float64 is not
            possible.
        dtype: in which central differences were taken, such as ``float64``.
    """

    sound: bool
    reason: str
    needs_float64: bool
    slope_error: float
    path_error: float
    output_error: float
    precision_error: float
    dtype: str


def gradient_check(
    model: Model,
    references: Tensor,
    *,
    target: AnyTarget = "predicted_class",
    baseline: float | Tensor = 0.0,
    n_references: int = 3,
    n_points: int = 3,
    n_directions: int = 4,
    generator: torch.Generator | None = None,
) -> GradientCheck:
    """Returns whether the gradients of `model` are those of its outputs.

    Checked are, in this order:

    - outputs: the same with gradients enabled or not, for inputs that require gradients or not, and
      in float64
    - precision: gradients in the model's own precision against those in float64; where they
      differ, the latter are checked and must be used
    - slopes: g·v against central differences at points of each path, for v the gradient itself and
      random directions
    - path: the gradients add up to f(x) - f(x') on segments that are cut in half where they do not;
      a switch between the two remains, however small its segment

    What it cannot see: a lie told at few points only, or told after the check; a function that is
    true, but another one away from the data, without a jump in between. Beside the field it costs
    little: for a sound model, mostly some 150 passes of one image.

    Args:
        model: see `gradient_field`.
        references: ``[N, *input_shape]``; `n_references` of them are drawn.
        target: see `resolve_target`; pass a settled one (`Target.settled`) where it depends on the
            answers at all references.
        baseline: see `gradient_field`.
        n_references: paths looked at.
        n_points: on each path, one in each of as many equal parts.
        n_directions: random ones, beside the gradient's own.
        generator: CPU generator of the draws; seeded with 0 by default.

    Raises:
        ValueError: for references, labels or a baseline that do not fit, outputs that are not
            finite, or without a class for the target.
        TypeError: for an output that is not one tensor of scores.

    Example:
        >>> draw = torch.Generator().manual_seed(0)
        >>> images, weight = torch.rand(4, 6, generator=draw), torch.rand(6, 3, generator=draw)
        >>> gradient_check(lambda x: (x @ weight).tanh(), images).sound
        True
        >>> gradient_check(lambda x: (x @ weight).detach().tanh() + 0 * x[:, :3], images).sound
        False
    """
    if references.ndim < 2 or min(len(references), n_references, n_points, n_directions) < 1:
        raise ValueError(
            "expected a non-empty batch of references [N, *input_shape], and at least one "
            f"reference, point and direction, got {list(references.shape)}, {n_references}, "
            f"{n_points} and {n_directions}."
        )
    draw = torch.Generator().manual_seed(0) if generator is None else generator
    with torch.inference_mode(False), torch.no_grad():
        rows = torch.randperm(len(references), generator=draw)[:n_references].sort().values
        own = _own(model, references)
        start = broadcast_baseline(baseline, references)[rows].to(own.device, own.dtype)
        x = references.detach()[rows].to(own.device, own.dtype).clone()
        fine = _cast(model, x)
        side = own if fine is None else fine
        with frozen(own.model), frozen(side.model):
            paths = _Paths(x, start, n_points, draw)
            return _checked(own, side, paths, rows, resolve_target(target), n_directions, draw)


@dataclass(frozen=True)
class _Placed:
    """A model, and where and in which precision it takes its inputs."""

    model: Model
    device: torch.device
    dtype: torch.dtype

    def __call__(self, x: Tensor) -> Tensor:
        """The outputs ``[B, ...]``, without gradients."""
        return scores(self.model(x.to(self.device, self.dtype).clone()), len(x))


class _Paths:
    """The paths ``x' + a (x - x')`` and the points beside them.

    Attributes:
        points: ``[R * P, *input_shape]``.
        row: which path each is of, ``[R * P]``.
        scale: the typical |x - x'| of a pixel.
    """

    def __init__(self, x: Tensor, start: Tensor, n_points: int, draw: torch.Generator) -> None:
        self.x, self.start = x.double(), start.double().to(x.device)
        self.scale = (self.x - self.start).square().mean().sqrt().item() or 1.0
        shares = (torch.arange(n_points) + torch.rand(len(x), n_points, generator=draw)) / n_points
        self.row = torch.arange(len(x), device=x.device).repeat_interleave(n_points)
        exact = self.at(self.row, shares.flatten().to(self.x))
        noise = torch.randn(exact.shape, generator=draw, dtype=torch.float64).to(self.x)
        self.points = exact + _JITTER * self.scale * noise

    def at(self, row: Tensor, share: Tensor) -> Tensor:
        """The inputs on paths `row` ``[B]``, at their shares ``[B]`` from baseline to reference."""
        return torch.lerp(self.start[row], self.x[row], share.reshape(-1, *[1] * (self.x.ndim - 1)))


@dataclass(frozen=True)
class _Objective:
    """The target, frozen at the references; its rows are those of the paths."""

    target: Target
    positions: Tensor | None

    def value(self, output: Tensor, row: Tensor) -> Tensor:
        if self.positions is not None:
            return self.target.at_positions(output, self.positions[row])
        assert self.target.value is not None
        return self.target.value(output)

    def gradient(self, placed: _Placed, points: Tensor, row: Tensor) -> Tensor:
        """The gradients ``[B, *input_shape]`` at points, as `gradient_field` takes them."""
        target = self.target
        if self.positions is not None:
            chosen = self.positions[row]
            target = Target(
                target.name, lambda _, rows: chosen[rows], at_positions=target.at_positions
            )
        points = points.to(placed.device, placed.dtype)
        field = gradient_field(
            placed.model,
            points,
            target=target,
            n_steps=1,
            rule="riemann_right",  # whose only node is the point itself
            scale_by_path=False,
            dtype=placed.dtype,
        )
        return field[:, 0].double()


def _checked(
    own: _Placed,
    side: _Placed,
    paths: _Paths,
    rows: Tensor,
    target: Target,
    n_directions: int,
    draw: torch.Generator,
) -> GradientCheck:
    def found(reason: str = "", slope=0.0, path=0.0, output=0.0, precision=0.0) -> GradientCheck:
        return GradientCheck(
            not reason,
            f"{reason} {_WAY_OUT}" if reason else "",
            not precision <= PRECISION_TOLERANCE,
            slope,
            path,
            output,
            precision,
            str(side.dtype).removeprefix("torch."),
        )

    answers = side(paths.x)
    if not answers.isfinite().all():
        raise ValueError(
            "the model's answers at the references are not finite (NaN or infinity): leave the "
            "references out at which they are not, or the model."
        )
    target = target.settled(answers)
    positions = None
    if target.positions is not None:
        each = [target.positions(answers[i : i + 1], slice(r, r + 1)) for i, r in _numbered(rows)]
        positions = torch.cat(each)
    objective = _Objective(target, positions)
    output = _output_error(own, side, paths.points)
    if output > OUTPUT_TOLERANCE:
        return found(
            "its answers depend on whether gradients are enabled, or on the precision of its "
            f"input: they differ by {output:.2g} of their spread.",
            output=output,
        )
    try:
        gradients = objective.gradient(side, paths.points, paths.row)
        rough = objective.gradient(own, paths.points, paths.row) if own is not side else gradients
    except TypeError as error:
        return found(f"it gives no gradients: {error}", output=output, slope=1.0)
    precision = _precision_error(rough, gradients)
    slope, path, reason = (
        _slope_error(side, objective, paths, gradients, n_directions, draw),
        0.0,
        "",
    )
    if slope <= SLOPE_TOLERANCE:
        path = _path_error(side, objective, paths)
    if not slope <= SLOPE_TOLERANCE:
        reason = (
            "its gradients are not those of its outputs: along random directions they differ from "
            f"central differences by {slope:.0%}."
        )
    elif not path <= PATH_TOLERANCE:
        reason = (
            "its gradients do not add up to the change of its outputs between baseline and "
            f"reference: {path:.0%} of the path's length is missing, as of a function that jumps."
        )
    return found(reason, slope, path, output, precision)


def _own(model: Model, references: Tensor) -> _Placed:
    """The model as a field is computed of it by default."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    like = next((t for t in tensors if t.is_floating_point()), references)
    wider = compute_dtype(model) if isinstance(model, nn.Module) else None
    if wider is None or not isinstance(model, nn.Module):
        return _Placed(model, like.device, like.dtype)
    return _Placed(copy.deepcopy(model).to(wider), like.device, wider)


def _cast(model: Model, x: Tensor) -> _Placed | None:
    """The model in float64, or None where it cannot be cast.

    `x` is on the model's device.
    """
    try:
        fine = copy.deepcopy(model).double() if isinstance(model, nn.Module) else model
        placed = _Placed(fine, x.device, torch.float64)
        with frozen(fine):
            return placed if placed(x[:1]).isfinite().all() else None
    except _UNSUITED:
        return None


def _numbered(rows: Tensor) -> list[tuple[int, int]]:
    return list(enumerate(rows.tolist()))


def _output_error(own: _Placed, side: _Placed, points: Tensor) -> float:
    """The largest difference of outputs that ought to be the same, over their spread."""
    points = points.to(own.dtype)
    plain = own(points)
    others = [] if own is side else [side(points)]
    with torch.enable_grad():
        others += [own(points).detach(), own(points.clone().requires_grad_()).detach()]
    spread = _spread(plain)
    return max((other.double() - plain.double()).abs().max().item() for other in others) / spread


def _spread(outputs: Tensor) -> float:
    """The standard deviation of outputs over inputs and classes, or a number near zero."""
    deviation = outputs.double().std().item() if outputs.numel() > 1 else 0.0
    return max(deviation, 1e-6 * outputs.abs().max().item(), torch.finfo(torch.float32).tiny)


def _precision_error(rough: Tensor, fine: Tensor) -> float:
    difference = (rough - fine).flatten(1).norm(dim=1)
    length = torch.maximum(rough.flatten(1).norm(dim=1), fine.flatten(1).norm(dim=1))
    return _share(difference, length).median().item()


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """The quotient, 0 for 0/0."""
    return torch.where(part > 0, part / whole.clamp_min(torch.finfo(whole.dtype).tiny), 0.0)


def _slope_error(
    placed: _Placed,
    objective: _Objective,
    paths: _Paths,
    gradients: Tensor,
    n_directions: int,
    draw: torch.Generator,
) -> float:
    """The largest error of g·v over points, see `GradientCheck`."""
    points, count, n_values = paths.points, len(paths.points), paths.points[0].numel()
    noise = torch.randn(n_directions, *points.shape, generator=draw, dtype=torch.float64).to(points)
    length = gradients.flatten(1).norm(dim=1).reshape(-1, *[1] * (points.ndim - 1))
    uphill = torch.where(length > 0, gradients / length.clamp_min(1e-300), noise[0]) * n_values**0.5
    directions = paths.scale * torch.cat([uphill[None], noise])
    claimed = (directions * gradients).flatten(2).sum(2)
    fine = torch.finfo(placed.dtype)
    steps = _FINE_STEPS if placed.dtype == torch.float64 else _COARSE_STEPS
    best = torch.full_like(claimed, torch.inf)
    measured = torch.zeros_like(claimed)
    for step in steps:
        both = []
        for sign in (step, -step):
            moved = (points + sign * directions).flatten(0, 1)
            output = torch.cat([placed(part) for part in moved.split(count)])
            both.append(objective.value(output, paths.row.repeat(n_directions + 1)).double())
        slope = ((both[0] - both[1]) / (2 * step)).reshape(claimed.shape)
        largest = torch.cat(both).abs().max().item()
        error = (slope - claimed).abs() - _ROUNDING * fine.eps * largest / step
        nearer = ~(error >= best)
        best = torch.where(nearer, error.clamp_min(0), best)
        measured = torch.where(nearer, slope, measured)
        if (_slope_errors(best, measured, claimed) <= SLOPE_TOLERANCE / 10).all():
            break
    return _slope_errors(best, measured, claimed).max().item()


def _slope_errors(error: Tensor, measured: Tensor, claimed: Tensor) -> Tensor:
    """Of each point: the error along the gradient, or the median one along random directions."""
    size = torch.maximum(measured.abs(), claimed.abs())
    along = _share(error[0], size[0])
    random = _share(error[1:].median(0).values, size[1:].square().mean(0).sqrt())
    return torch.maximum(along, random)


def _path_error(placed: _Placed, objective: _Objective, paths: _Paths) -> float:
    """The largest part of a path that its gradients miss, once its worst segments are small."""
    rows = range(len(paths.x))
    cuts = {row: [(0.0, 1.0)] for row in rows}
    missed: dict[int, dict[tuple[float, float], tuple[float, float]]] = {row: {} for row in rows}
    ends = [(row, share) for row in rows for share in (0.0, 1.0)]
    errors = dict.fromkeys(rows, 0.0)
    values = dict(zip(ends, _values(placed, objective, paths, ends), strict=True))
    for _ in range(_ROUNDS):
        new = [(row, segment) for row, segments in cuts.items() for segment in segments]
        middle = sorted({(row, end) for row, s in new for end in s} - values.keys())
        values.update(zip(middle, _values(placed, objective, paths, middle), strict=True))
        for (row, (low, high)), (integral, length) in zip(
            new, _integrals(placed, objective, paths, new), strict=True
        ):
            change = values[row, high] - values[row, low]
            missed[row][low, high] = (abs(integral - change), max(length, abs(change)))
        cuts = {}
        for row, segments in missed.items():
            total = sum(length for _, length in segments.values())
            errors[row] = sum(gap for gap, _ in segments.values()) / total if total else 0.0
            if not errors[row] <= PATH_TOLERANCE / 2:
                worst = sorted(segments, key=lambda s: -segments[s][0])[:_CUTS]
                cuts[row] = [half for s in worst for half in _halves(*s)]
                for segment in worst:
                    del segments[segment]
        if not cuts:
            break
    return max(errors.values())


def _halves(low: float, high: float) -> tuple[tuple[float, float], tuple[float, float]]:
    middle = (low + high) / 2
    return (low, middle), (middle, high)


def _values(
    placed: _Placed, objective: _Objective, paths: _Paths, ends: list[tuple[int, float]]
) -> list[float]:
    if not ends:
        return []
    row = torch.tensor([row for row, _ in ends], device=paths.x.device)
    share = torch.tensor([share for _, share in ends]).to(paths.x)
    return objective.value(placed(paths.at(row, share)), row).double().tolist()


def _integrals(
    placed: _Placed,
    objective: _Objective,
    paths: _Paths,
    segments: list[tuple[int, tuple[float, float]]],
) -> list[tuple[float, float]]:
    """Of each segment: the integral of the gradient along it, and of its absolute value."""
    whole = all(segment == (0.0, 1.0) for _, segment in segments)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES_OF_PATH if whole else _NODES)
    row = torch.tensor([row for row, _ in segments], device=paths.x.device)
    low, high = torch.tensor([segment for _, segment in segments]).to(paths.x).unbind(1)
    width = high - low
    share = low[:, None] + width[:, None] * torch.from_numpy((1 + nodes) / 2).to(paths.x)
    every = row.repeat_interleave(len(nodes))
    gradient = objective.gradient(placed, paths.at(every, share.flatten()), every)
    slope = (gradient * (paths.x - paths.start)[every]).flatten(1).sum(1).reshape(share.shape)
    weighed = slope * torch.from_numpy(weights / 2).to(paths.x) * width[:, None]
    return list(zip(weighed.sum(1).tolist(), weighed.abs().sum(1).tolist(), strict=True))
