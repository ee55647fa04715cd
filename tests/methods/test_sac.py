import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import rand_score
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from sklearn.preprocessing import normalize
from torch import Tensor

from modelgif.methods.sac import compare, describe

N, CLASSES = 17, 6


def answers(seed: int) -> Tensor:
    return torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(seed))


def described(scores: Tensor, **options: Any) -> Tensor:
    return describe(lambda x: scores[x[:, 0].long()], torch.arange(N)[:, None].float(), **options)


def test_correlations_equal_scikit_learn_s() -> None:
    scores = answers(0)
    values = scores.double().numpy()
    probabilities = scores.double().softmax(1).numpy()
    np.testing.assert_allclose(described(scores), cosine_similarity(values), atol=1e-12)
    np.testing.assert_allclose(
        described(scores, answer="probabilities"), cosine_similarity(probabilities), atol=1e-12
    )
    np.testing.assert_allclose(
        described(scores, correlation="gaussian"),
        rbf_kernel(normalize(values), gamma=1.0),
        atol=1e-12,
    )


def test_distance_is_the_mean_over_all_pairs() -> None:
    a, b = answers(0).double(), answers(1).double()
    total = 0.0
    for i, j in itertools.product(range(N), repeat=2):
        first = a[i] @ a[j] / (a[i].norm() * a[j].norm())
        second = b[i] @ b[j] / (b[i].norm() * b[j].norm())
        total += abs(float(first - second))
    assert compare(described(a), described(b)) == pytest.approx(total / N**2, rel=1e-12)


def test_of_labels_it_is_a_rand_index() -> None:
    """Smoothed labels have two cosines, so that the distance counts pairs that are split unlike."""
    a, b = answers(0), answers(1)
    # The softmax of 1 and 0.01, before its division by the sum, which no cosine sees.
    high, low = math.e, math.exp(0.01)
    same = high**2 + (CLASSES - 1) * low**2
    unlike = 2 * high * low + (CLASSES - 2) * low**2
    split = 1 - rand_score(a.argmax(1).numpy(), b.argmax(1).numpy())
    expected = (1 - unlike / same) * split * (N - 1) / N
    found = compare(described(a, answer="labels"), described(b, answer="labels"))
    assert found == pytest.approx(expected, rel=1e-12)
    assert 0.01 < found < 1 - unlike / same


def test_the_scale_of_scores_does_not_matter_but_that_of_probabilities_does() -> None:
    a = answers(0)
    assert compare(described(a), described(a * 8)) == pytest.approx(0, abs=1e-12)
    assert compare(described(a.double() * 1e-200), described(a.double() * 1e200)) < 1e-12
    options: dict[str, Any] = {"answer": "probabilities"}
    assert compare(described(a, **options), described(a * 8, **options)) > 0.05


def test_answers_without_direction() -> None:
    a = answers(0)
    a[[2, 5]] = 0
    found = described(a)
    assert found[2, 5] == found[5, 2] == found[2, 2] == 1
    assert found[2, :2].tolist() == [0, 0]


def test_bad_options_are_refused() -> None:
    a = answers(0)
    with pytest.raises(ValueError, match="answer must be one of scores, probabilities, labels"):
        described(a, answer="logits")
    with pytest.raises(ValueError, match="correlation must be one of cosine, gaussian"):
        described(a, correlation="rbf")
    with pytest.raises(ValueError, match="at least 2 references"):
        describe(lambda x: a[:1], torch.zeros(1, 1))
    with pytest.raises(ValueError, match=r"one score per class.*got \[17, 1\]"):
        described(a[:, :1])
