"""PED: class means repel each other like charges before a score is read off the features."""

from collections.abc import Callable

from torch import Tensor

from modelgif.transferability._checks import Features, Labels
from modelgif.transferability._descent import PedReport, ped_state

ScoreFunction = Callable[[Tensor, Labels], float]


def ped(
    features: Features,
    labels: Labels,
    *,
    general: Features,
    score: ScoreFunction,
    n_sigma: float = 0.6,
    dt: float = 0.1,
    k: float = 1.0,
    max_steps: int = 6,
    exit_ratio: float = 0.5,
    floor: float = 1e-2,
) -> float:
    """Returns `score` of the features after potential energy descent of their class means.

    Source: Li et al., Exploring Model Transferability through the Lens of Potential Energy,
    ICCV 2023.

    Args:
        features: as `ped_features`.
        labels: as `ped_features`.
        general: as `ped_features`.
        score: any transferability score of features and labels, such as `logme` or a
            `functools.partial` of one.
        n_sigma: as `ped_features`.
        dt: as `ped_features`.
        k: as `ped_features`.
        max_steps: as `ped_features`.
        exit_ratio: as `ped_features`.
        floor: as `ped_features`.

    Raises:
        ValueError: as `ped_features`, and as `score`.

    Example:
        >>> import torch
        >>> from modelgif.transferability import logme, ped
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> general = 2 * noise.flip(0)
        >>> moved = ped(features, labels, general=general, score=logme, n_sigma=1.0, dt=1.0)
        >>> moved > logme(features, labels)
        True
    """
    moved, _ = ped_features(
        features,
        labels,
        general=general,
        n_sigma=n_sigma,
        dt=dt,
        k=k,
        max_steps=max_steps,
        exit_ratio=exit_ratio,
        floor=floor,
    )
    return score(moved, labels)


def ped_features(
    features: Features,
    labels: Labels,
    *,
    general: Features,
    n_sigma: float = 0.6,
    dt: float = 0.1,
    k: float = 1.0,
    max_steps: int = 6,
    exit_ratio: float = 0.5,
    floor: float = 1e-2,
) -> tuple[Tensor, PedReport]:
    """Returns the features ``[N, D]`` after potential energy descent, and what happened.

    In units of the general domain's standard deviation, class c is a ball of radius
    R_c = √(Σ_d var_d) about its mean. Two classes overlap by o = max(n_σ (R_i + R_j) − d_ij, 0) and
    each is pushed from the other by min(½ k dt² o, o) along the line of the means. The descent
    takes at most `max_steps` steps and ends when the L1 movement of the means falls to
    `exit_ratio` of the first step's, without taking that step.

    Only class means move, so that the whole descent is one C × C matrix applied to the means.
    Warns when no classes overlap, where nothing moves, and when two means coincide, where that
    pair has no direction to part in and stays.

    Source: as `ped`; the rescaling is its appendix B. The published program floors the general
    standard deviation at 1e-3 absolutely, whatever the scale of the features.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        general: the same model's features of general-domain data, such as ImageNet, ``[M, D]``.
        n_sigma: radii to standard deviations, n_σ; the paper tries 0.3 and 0.6.
        dt: time step.
        k: strength of the repulsion.
        max_steps: at most so many steps.
        exit_ratio: share of the first movement at which the descent ends.
        floor: least general standard deviation, as a share of the channels' root mean square.

    Raises:
        ValueError: for general features of other dimensions or without spread, a negative
            parameter, and as every score for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import ped_features
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> moved, report = ped_features(features, labels, general=2 * noise.flip(0))
        >>> tuple(moved.shape), report.n_steps
        ((60, 8), 6)
    """
    state = ped_state(features, labels, general=general, floor=floor)
    displacement, report = state.descend(
        n_sigma=n_sigma, dt=dt, k=k, max_steps=max_steps, exit_ratio=exit_ratio
    )
    return state.moved(displacement), report
