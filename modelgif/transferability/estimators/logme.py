"""LogME: how probable the labels are under a Bayesian linear model of the features."""

from modelgif.transferability._checks import Features, Labels, checked
from modelgif.transferability._evidence import EigenSpectrum, max_evidence
from modelgif.transferability.score import Score


def logme(
    features: Features,
    labels: Labels,
    *,
    tolerance: float = 1e-2,
    max_iterations: int = 11,
    epsilon: float = 1e-5,
) -> float:
    """Returns the maximised log evidence of one-vs-rest labels, averaged over classes and samples.

    The evidence of ``y = F w + noise`` with ``w ~ N(0, 1/α)`` and ``noise ~ N(0, 1/β)`` is raised
    by MacKay's fixed point in (α, β); every class has its own. All of it is read off one
    eigendecomposition of the Gram matrix on the smaller side, for all classes at once, and
    directions without features count in the evidence, so it holds for D > N as well.

    Unbounded; invariant to rotations of the features and to the order and names of the classes.
    Source: You et al., LogME, ICML 2021; the defaults are the authors'.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        tolerance: relative change of α/β at which a class is converged.
        max_iterations: at most so many fixed-point steps.
        epsilon: added to the norms of weights and residual, and so keeps α and β finite.

    Raises:
        ValueError: as every score for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import logme
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(logme(features, labels), 3)
        -0.493
    """
    sample = checked(features, labels)
    evidence = max_evidence(
        EigenSpectrum.of(sample),
        sample.n_classes,
        device=sample.features.device,
        tolerance=tolerance,
        max_iterations=max_iterations,
        epsilon=epsilon,
    )
    return float(evidence.mean())


SCORES = (
    Score(
        logme,
        title="LogME",
        measures="evidence of the labels under a Bayesian linear model of the features",
        source="You et al., LogME, ICML 2021",
        invariances=frozenset({"class names", "order", "rotation"}),
    ),
)
