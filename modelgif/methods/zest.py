"""ZEST: which parts of each image the scores rest on, by hiding parts. Needs scores.

Every reference is cut into segments and seen by the model many times with a random half of them
hidden. The coefficients of a linear regression of the scores on what was shown (LIME) are the
model's signature; all models see the same images.

Source: Jia et al., A Zest of LIME: Towards Architecture-Independent Model Distances, ICLR 2022,
section 3; Ribeiro et al., "Why Should I Trust You?", KDD 2016, for LIME.
"""

import numpy as np
import torch
from torch import Tensor

from modelgif.distances.distance import distance
from modelgif.fields.field_settings import broadcast_baseline
from modelgif.fields.model import Model
from modelgif.methods._outputs import batched_scores, finite, one_per_class
from modelgif.methods._segments import check_segments, grid
from modelgif.methods.method import Method

# Eigenvalues of the segments' second moments below this share of the largest are rounding.
_RANK_TOLERANCE = 1e-10


def describe(
    model: Model,
    references: Tensor,
    *,
    segments: Tensor | None = None,
    n_samples: int = 1000,
    seed: int = 0,
    baseline: float | Tensor = 0.0,
    batch_size: int = 512,
) -> Tensor:
    """Returns the linear coefficients of each segment and class, float64 ``[N, S, K]``.

    For each reference, ``W = pinv(M) Y`` with which segments were shown, ``M`` ``[n_samples, S]``,
    and the scores ``Y`` ``[n_samples, K]``: unweighted least squares without an intercept, the
    first sample showing everything, as in the authors' program. Segments beyond those of a
    reference are zero.

    Args:
        model: gives scores ``[B, K]``, for N · `n_samples` images in all.
        references: ``[N, C, H, W]``.
        segments: which segment each pixel is in, whole numbers from 0 ``[N, H, W]``, the same for
            all models; see `modelgif.methods.superpixels`. None for a grid of squares, the paper's
            superpixels being one or two on tiny images.
        n_samples: images seen of each reference; 1000 in the paper.
        seed: of what is hidden, on any device the same; the first references of a longer list have
            the same.
        baseline: what hidden pixels show: a number, one image, or one per reference. In the paper
            the mean image.
        batch_size: images per pass.

    Raises:
        ValueError: for shapes that do not fit, no samples, or outputs that are not a finite
            ``[B, K]``, naming the reference.
    """
    if references.ndim != 4 or len(references) == 0:
        raise ValueError(f"references must be images [N, C, H, W], got {list(references.shape)}.")
    if n_samples < 1 or batch_size < 1:
        raise ValueError(
            f"expected at least one sample and one image per pass, got n_samples {n_samples} and "
            f"batch_size {batch_size}."
        )
    images = references.detach()
    hidden = broadcast_baseline(baseline, images)
    segments = grid(images) if segments is None else check_segments(segments, images)
    shown = _shown(segments, n_samples, seed).to(images.device)
    segment = segments.to(images.device).flatten(1)

    def seen(number: Tensor) -> Tensor:
        row, sample = number // n_samples, number % n_samples
        visible = shown[row, sample].gather(1, segment[row]).view(-1, 1, *images.shape[2:])
        return torch.where(visible, images[row], hidden[row])

    numbers = torch.arange(len(images) * n_samples, device=images.device)
    found = one_per_class(batched_scores(model, map(seen, numbers.split(batch_size))))
    found = finite(found.double().view(len(images), n_samples, -1), "output")
    design = shown.to(found)
    moments = design.mT @ design
    inverse = torch.linalg.pinv(moments, rtol=_RANK_TOLERANCE, hermitian=True)
    return inverse @ (design.mT @ found)


def compare(a: Tensor, b: Tensor, *, align: bool = True) -> float:
    """Returns the cosine distance of two signatures, in [0, 2].

    Args:
        a: of one model.
        b: of another, at the same references.
        align: whether classes are paired by how alike their coefficients are, the nearest two
            first, as in the authors' program: the order of classes then does not matter, and of the
            longer list of classes only those that find a partner count. Without, classes of one
            name are compared.

    Raises:
        ValueError: for signatures at different references, or different numbers of classes that are
            not to be aligned.

    Warns:
        ZeroCellWarning: for a signature that is zero.

    Example:
        >>> import torch
        >>> x = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> victim = describe(lambda z: z.flatten(1)[:, :3], x, n_samples=50)
        >>> suspect = describe(lambda z: 2 * z.flatten(1)[:, :3], x, n_samples=50)
        >>> abs(round(compare(victim, suspect), 6))
        0.0
    """
    if a.shape[:2] != b.shape[:2] or (not align and a.shape != b.shape):
        raise ValueError(
            "expected signatures [N, S, K] at the same references and segments, and of the same "
            f"classes unless align is true, got {list(a.shape)} and {list(b.shape)}."
        )
    if align:
        first, second = _pairs(a.flatten(0, 1), b.flatten(0, 1))
        a, b = a[:, :, first], b[:, :, second]
    return distance(a.reshape(1, 1, -1), b.reshape(1, 1, -1))


def _shown(segments: Tensor, n_samples: int, seed: int) -> Tensor:
    """Which segments each image shows, ``[N, n_samples, S]``; the first of each reference all."""
    generator = torch.Generator().manual_seed(seed)
    counts = (segments.flatten(1).amax(1) + 1).tolist()
    shown = torch.zeros(len(segments), n_samples, max(counts), dtype=torch.bool)
    for row, count in enumerate(counts):
        drawn = torch.randint(2, (n_samples, count), generator=generator)
        shown[row, :, :count] = drawn.bool()
        shown[row, 0, :count] = True
    return shown


def _pairs(a: Tensor, b: Tensor) -> tuple[list[int], list[int]]:
    """Classes of each signature ``[P, K]``, one beside its partner, the nearest pair first."""
    apart = (1 - _unit(a).T @ _unit(b)).cpu().numpy()
    # Where only rounding decides, as between classes with proportional scores, names do.
    np.fill_diagonal(apart, apart.diagonal() - 1e-9)
    first, second = [], []
    for _ in range(min(apart.shape)):
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        apart[i, :] = apart[:, j] = np.inf
        first.append(int(i))
        second.append(int(j))
    return first, second


def _unit(columns: Tensor) -> Tensor:
    norm = columns.double().norm(dim=0)
    return columns.double() / norm.where(norm > 0, 1)


METHODS = (
    Method(
        "zest",
        "which parts of a reference the scores rest on",
        describe,
        compare,
        access="scores",
        bounds=(0.0, 2.0),
        uses_baseline=True,
        # 128 samples of 49 squares; the paper's 1000 are for superpixels of photographs.
        options={"n_samples": 128},
        source="Jia et al., ICLR 2022",
    ),
)
