"""A linear probe: the other plain baseline among the transferability scores."""

import numpy as np

from modelgif.transferability._checks import Features, Labels, checked, saturating
from modelgif.transferability.score import Score


def linear_probe(
    features: Features,
    labels: Labels,
    *,
    regularisation: float = 1.0,
    n_folds: int = 5,
    max_iterations: int = 1000,
    seed: int = 0,
) -> float:
    """Returns the cross-validated accuracy of logistic regression on the standardised features.

    The mean and standard deviation are the training folds' own. In [0, 1] and warns of saturation.
    Runs on the CPU whatever the device of the features.

    Args:
        features: features of the target data, ``[N, D]``.
        labels: classes, ``[N]``, any integers.
        regularisation: weight of ½‖w‖² beside the summed log loss.
        n_folds: stratified folds.
        max_iterations: of the solver, which warns when they do not suffice.
        seed: of the folds.

    Raises:
        ImportError: when scikit-learn is missing.
        ValueError: when a class has fewer samples than there are folds, for a `regularisation` not
            above 0, and as every score for inputs of a wrong form.

    Example:
        >>> import torch
        >>> from modelgif.transferability import linear_probe
        >>> labels = torch.arange(60) % 3
        >>> noise = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
        >>> features = noise + 2 * torch.eye(8)[labels]
        >>> round(linear_probe(features, labels), 3)
        0.9
    """
    sample = checked(features, labels)
    if not regularisation > 0:
        raise ValueError(f"regularisation must be above 0, got {regularisation}.")
    smallest = int(sample.counts.min())
    if not 2 <= n_folds <= smallest:
        raise ValueError(
            f"n_folds must lie in 2 .. {smallest}, the size of the smallest class, got {n_folds}; "
            "take fewer folds, or leave small classes out."
        )
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise ImportError(
            "linear_probe needs scikit-learn; run pip install 'modelgif[experiments]'."
        ) from error
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / regularisation, max_iter=max_iterations)
    )
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    x, y = sample.features.cpu().numpy(), sample.labels.cpu().numpy()
    accuracies = [
        probe.fit(x[train], y[train]).score(x[test], y[test]) for train, test in folds.split(x, y)
    ]
    return saturating(float(np.mean(accuracies)), 1.0, "the linear probe's accuracy")


SCORES = (
    Score(
        linear_probe,
        title="linear probe",
        measures="cross-validated accuracy of logistic regression",
        source="Alain and Bengio, Understanding intermediate layers using linear "
        "classifier probes, 2016",
        invariances=frozenset({"class names", "scale"}),
        saturates_at=1.0,
    ),
)
