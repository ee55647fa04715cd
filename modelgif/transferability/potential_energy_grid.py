"""PED over a grid of its parameters, for little more than the cost of one point."""

from collections.abc import Sequence

import numpy as np

from modelgif.transferability._checks import Features, Labels
from modelgif.transferability._descent import PedState, ped_state
from modelgif.transferability._evidence import MeansSpectrum, max_evidence
from modelgif.transferability.estimators.logme import logme
from modelgif.transferability.potential_energy import ScoreFunction


def ped_grid(
    features: Features,
    labels: Labels,
    *,
    general: Features,
    score: ScoreFunction,
    n_sigma: Sequence[float],
    dt: Sequence[float],
    k: float = 1.0,
    max_steps: int = 6,
    exit_ratio: float = 0.5,
    floor: float = 1e-2,
) -> np.ndarray:
    """Returns `ped` for every pair of `n_sigma` and `dt`, ``[len(n_sigma), len(dt)]``.

    What the parameters do not change is computed once. With `logme` itself as the score nothing
    of the size of the features is touched again: the descent leaves the features about their
    class means as they are, so that one eigendecomposition serves the whole grid. That is done
    while a point is cheaper so, for 4 C³ < min(N, D)²; otherwise, and for any other score, the
    score is computed anew from the moved features of every point.

    Args:
        features: as `ped_features`.
        labels: as `ped_features`.
        general: as `ped_features`.
        score: as `ped`.
        n_sigma: values of the parameter of `ped_features`.
        dt: values of the parameter of `ped_features`.
        k: as `ped_features`.
        max_steps: as `ped_features`.
        exit_ratio: as `ped_features`.
        floor: as `ped_features`.

    Raises:
        ValueError: as `ped`.

    Example:
        >>> import torch
        >>> from modelgif.transferability import logme, ped_grid
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> general = 2 * noise.flip(0)
        >>> grid = ped_grid(
        ...     features, labels, general=general, score=logme, n_sigma=[0.6, 1.0], dt=[0.1]
        ... )
        >>> grid.shape
        (2, 1)
    """
    state = ped_state(features, labels, general=general, floor=floor)
    few_classes = 4 * state.sample.n_classes**3 < min(state.sample.features.shape) ** 2
    spectrum = MeansSpectrum.of(state.sample) if score is logme and few_classes else None
    result = np.empty((len(n_sigma), len(dt)))
    for row, sigma in enumerate(n_sigma):
        for column, step in enumerate(dt):
            displacement, _ = state.descend(
                n_sigma=sigma, dt=step, k=k, max_steps=max_steps, exit_ratio=exit_ratio
            )
            if spectrum is None:
                result[row, column] = score(state.moved(displacement), labels)
            else:
                result[row, column] = _logme(state, spectrum.moved(displacement))
    return result


def _logme(state: PedState, spectrum: MeansSpectrum) -> float:
    device = state.sample.features.device
    return float(max_evidence(spectrum, state.sample.n_classes, device=device).mean())
