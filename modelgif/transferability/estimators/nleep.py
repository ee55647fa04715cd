"""NLEEP: LEEP with the components of a Gaussian mixture in the place of source classes."""

from modelgif.transferability._checks import Features, Labels, checked, saturating
from modelgif.transferability._linear import principal_components
from modelgif.transferability.estimators.leep import expected_prediction
from modelgif.transferability.score import Score


def nleep(
    features: Features,
    labels: Labels,
    *,
    n_components: int | None = None,
    energy: float = 0.8,
    log: bool = False,
    seed: int = 0,
) -> float:
    """Returns the expected empirical prediction of the labels by a mixture fitted to the features.

    The features are reduced to the principal components that hold `energy` of their variance, and
    a Gaussian mixture with full covariances is fitted. The fit is random: the spread over seeds is
    of the order of 0.01. In [0, 1] without the logarithm, and warns of saturation.
    Source: Li et al., Ranking Neural Checkpoints, CVPR 2021.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        n_components: components of the mixture; None for five a class.
        energy: share of the variance to keep, in (0, 1].
        log: whether to take the logarithm before the mean, as the paper; the programs that
            published tables with NLEEP, SFDA and PED do not.
        seed: of the mixture's starting point.

    Raises:
        ImportError: when scikit-learn is missing.
        ValueError: for more components than samples, `energy` out of range, and as every score
            for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import nleep
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(nleep(features, labels, n_components=6), 2)
        0.73
    """
    sample = checked(features, labels)
    if not 0 < energy <= 1:
        raise ValueError(f"energy must lie in (0, 1], got {energy}.")
    n_components = 5 * sample.n_classes if n_components is None else n_components
    if not 1 <= n_components <= len(sample.labels):
        raise ValueError(
            f"n_components must lie in 1 .. {len(sample.labels)}, the number of samples, "
            f"got {n_components}; name a smaller one."
        )
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise ImportError(
            "nleep needs scikit-learn; run pip install 'modelgif[experiments]'."
        ) from error
    components, variances = principal_components(sample.features)
    share = variances.cumsum(0) / variances.sum()
    reduced = components[:, : int((share <= energy).sum()) + 1].cpu().numpy()
    mixture = GaussianMixture(n_components, random_state=seed).fit(reduced)
    return nleep_from_posterior(mixture.predict_proba(reduced), labels, log=log)


def nleep_from_posterior(posterior: Features, labels: Labels, *, log: bool = False) -> float:
    """Returns NLEEP from given probabilities ``[N, K]`` of the mixture's components.

    Args:
        posterior: p(component | sample), ``[N, K]``.
        labels: classes, ``[N]``, any integers.
        log: as `nleep`.

    Raises:
        ValueError: as `leep`.

    Example:
        >>> import torch
        >>> from modelgif.transferability import nleep_from_posterior
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> probabilities = torch.eye(2)[[0, 0, 1, 1, 1, 1]]
        >>> round(nleep_from_posterior(probabilities, labels), 3)
        0.75
    """
    score = expected_prediction(checked(posterior, labels, constant=True), log=log)
    return saturating(score, 0.0 if log else 1.0, "NLEEP")


SCORES = (
    Score(
        nleep,
        title="NLEEP",
        measures="probability of the true class given the components of a Gaussian mixture",
        source="Li et al., Ranking Neural Checkpoints, CVPR 2021",
        invariances=frozenset({"class names", "rotation"}),
        saturates_at=1.0,
    ),
)
