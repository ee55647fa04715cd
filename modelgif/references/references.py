"""Reference points: the inputs at which models are described."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class References:
    """Reference points with their names.

    Attributes:
        images: ``[N, C, H, W]``, pixels in [0, 1].
        ids: one name per reference, such as ``test/17``; unique.

    Example:
        >>> references = References(torch.zeros(2, 3, 8, 8), ("test/0", "test/1"))
        >>> len(references), references.sha256()[:8]
        (2, '94671ee3')
    """

    images: Tensor
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim < 2 or len(self.images) != len(self.ids) or not self.ids:
            raise ValueError(
                f"expected one id per reference, got images {list(self.images.shape)} and "
                f"{len(self.ids)} ids."
            )
        if len(set(self.ids)) != len(self.ids):
            twice = min(name for name, count in Counter(self.ids).items() if count > 1)
            raise ValueError(f"reference ids must be unique, got {twice!r} more than once.")

    def __len__(self) -> int:
        return len(self.ids)

    def sha256(self) -> str:
        """Returns the digest of shape, pixels and ids that field stores record."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.ids)).encode())
        digest.update(self.images.detach().cpu().double().contiguous().numpy().tobytes())
        return digest.hexdigest()


def random_references(
    images: Tensor, ids: Sequence[object], count: int, *, generator: torch.Generator
) -> References:
    """Returns `count` of the `images` ``[N, *]`` drawn without replacement.

    The first references of a larger draw with the same generator state are the smaller draw, so
    that results for nested sizes can be compared.

    Raises:
        ValueError: when there are fewer images than `count`.

    Example:
        >>> images, generator = torch.rand(9, 3, 8, 8), torch.Generator().manual_seed(0)
        >>> len(random_references(images, range(9), 4, generator=generator))
        4
    """
    if not 1 <= count <= len(images):
        raise ValueError(f"count must lie in 1..{len(images)} (the images at hand), got {count}.")
    chosen = torch.randperm(len(images), generator=generator)[:count].tolist()
    return References(images[chosen], tuple(str(ids[i]) for i in chosen))


def misclassified(predictions: Tensor, labels: Tensor) -> Tensor:
    """Returns the rows ``[W]`` at which a model errs, in ascending order; there may be none.

    Args:
        predictions: the class that the model predicts for each image, ``[N]``.
        labels: the true classes, ``[N]``.

    Raises:
        ValueError: if the lengths do not match, or for scores in place of classes.
    """
    if labels.ndim != 1 or predictions.shape != labels.shape or predictions.is_floating_point():
        raise ValueError(
            "expected one predicted class and one label per image, got predictions "
            f"{list(predictions.shape)} of {predictions.dtype} and labels {list(labels.shape)}; "
            "the predicted class is the argmax of a row of scores."
        )
    return (predictions != labels.to(predictions.device)).nonzero()[:, 0]


def derangement(count: int, *, generator: torch.Generator) -> Tensor:
    """Returns a random permutation of 0..count-1 without a fixed point, ``[count]``.

    ``references[derangement(...)]`` as a baseline starts each path at another reference.

    Raises:
        ValueError: for fewer than two references.

    Example:
        >>> order = derangement(5, generator=torch.Generator().manual_seed(0))
        >>> bool((order == torch.arange(5)).any()), order.sort().values.tolist()
        (False, [0, 1, 2, 3, 4])
    """
    if count < 2:
        raise ValueError(f"a derangement needs at least 2 references, got {count}.")
    identity = torch.arange(count)
    while True:  # a permutation is a derangement with probability 1/e
        permutation = torch.randperm(count, generator=generator)
        if not (permutation == identity).any():
            return permutation


def cutmix(images: Tensor, *, generator: torch.Generator) -> Tensor:
    """Returns `images` ``[N, C, H, W]`` each with a box of another image pasted in, as CutMix does.

    The box has the share ``1 - λ`` of the area, ``λ`` uniform on [0, 1], and a uniform centre; at
    the border it is cut off.

    Example:
        >>> images = torch.arange(2.0)[:, None, None, None].expand(2, 3, 8, 8)
        >>> cutmix(images, generator=torch.Generator().manual_seed(0)).unique().tolist()
        [0.0, 1.0]

    Source: Yun et al., CutMix, ICCV 2019, section 3.1.
    """
    if images.ndim != 4:
        raise ValueError(f"cutmix needs images [N, C, H, W], got {list(images.shape)}.")
    count, _, height, width = images.shape
    partner = derangement(count, generator=generator)
    side = (1 - torch.rand(count, generator=generator)).sqrt()
    centre = torch.rand(count, 2, generator=generator)
    inside = [
        _between(torch.arange(size) + 0.5, centre[:, axis] * size, side * size / 2)
        for axis, size in enumerate((height, width))
    ]
    box = (inside[0][:, :, None] & inside[1][:, None, :])[:, None].to(images.device)
    return torch.where(box, images[partner.to(images.device)], images)


def _between(position: Tensor, centre: Tensor, half: Tensor) -> Tensor:
    return (position[None] - centre[:, None]).abs() <= half[:, None]
