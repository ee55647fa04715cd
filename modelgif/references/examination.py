"""Which references can say something about a model: distinct images, away from the baseline."""

from dataclasses import dataclass

import torch
from torch import Tensor

from modelgif.fields.field_settings import broadcast_baseline
from modelgif.references.references import References

# Fewer distinct references decide nothing: the percentile interval over references covers less than
# it says below some 16 (see `tests/references/test_examination.py`), and a label that differs at
# one reference of 16 is already 6 % of all.
MIN_REFERENCES = 16
# Of the typical |x - x'|: images nearer to each other have the same path for all purposes; it is
# some 1 to 3 grey levels, what saving a photograph anew changes.
NEAR = 0.02
# Pixels may be off by rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ReferenceExamination:
    """Which references to use, and what a reader must know of the others.

    Attributes:
        keep: rows of distinct images that differ from the baseline, ascending.
        dropped: by id, why a reference says nothing.
        enough: whether so many are left that a verdict may be decided.
        notes: sentences, each with the way out; empty when nothing is to be said.
    """

    keep: tuple[int, ...]
    dropped: dict[str, str]
    enough: bool
    notes: tuple[str, ...]


def examine_references(
    references: References,
    *,
    baseline: float | Tensor = 0.0,
    min_references: int = MIN_REFERENCES,
) -> ReferenceExamination:
    """Returns which of the references are distinct images away from the baseline.

    Dropped are, in this order: images equal to the baseline, whose path has no length; images of
    one colour, which show nothing but a colour; copies of an earlier reference, to the bit or
    nearly. Every reference that is left weighs the same, so a copy would count twice. Values
    outside [0, 1] are noted only.

    Args:
        references: the images with their ids.
        baseline: see `modelgif.gradient_field`.
        min_references: fewer distinct ones are not enough for a decision.

    Raises:
        ValueError: for images that are not finite, naming the first, or a baseline that does not
            fit.

    Example:
        >>> images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> twice = References(torch.cat([images, images[:1]]), ("a", "b", "c", "d"))
        >>> found = examine_references(twice)
        >>> found.keep, found.enough
        ((0, 1, 2), False)
        >>> found.dropped
        {'d': 'a copy of a'}
    """
    if min_references < 1:
        raise ValueError(f"min_references must be at least 1, got {min_references}.")
    images = references.images.detach().double()
    finite = images.flatten(1).isfinite().all(1)
    if not finite.all():
        first = references.ids[int(finite.logical_not().nonzero()[0].item())]
        raise ValueError(
            f"the reference {first} holds NaN or infinity: leave it out, or make the references "
            "anew."
        )
    away = (images - broadcast_baseline(baseline, images)).flatten(1)
    length = away.square().mean(1).sqrt()
    typical = length.median().item()
    flat = _range(images) <= _ROUNDING * max(1.0, images.abs().max().item())
    dropped: dict[int, str] = {}
    for row in range(len(images)):
        if length[row] <= max(NEAR * typical / 2, _ROUNDING):
            dropped[row] = "equal to the baseline"
        elif flat[row]:
            dropped[row] = "of one colour"
    rest = [row for row in range(len(images)) if row not in dropped]
    for row, earlier in _copies(away, length, rest).items():
        same = torch.equal(images[row], images[earlier])
        dropped[row] = f"{'a copy' if same else 'nearly a copy'} of {references.ids[earlier]}"
    keep = tuple(row for row in rest if row not in dropped)
    named = {references.ids[row]: dropped[row] for row in sorted(dropped)}
    notes = _notes(images, named, keep, min_references)
    return ReferenceExamination(keep, named, len(keep) >= min_references, notes)


def _range(images: Tensor) -> Tensor:
    """The largest range of a channel, ``[N]``; of everything where there are no channels."""
    pixels = images.flatten(2) if images.ndim > 2 else images.unsqueeze(1)
    return (pixels.amax(2) - pixels.amin(2)).amax(1)


def _copies(away: Tensor, length: Tensor, rows: list[int]) -> dict[int, int]:
    """Of each row that is near an earlier one that is none itself: which."""
    found: dict[int, int] = {}
    kept: list[int] = []
    for row in rows:
        if kept:
            gap = (away[kept] - away[row]).square().mean(1).sqrt()
            near = gap <= NEAR * torch.minimum(length[kept], length[row])
            if near.any():
                found[row] = kept[int(near.nonzero()[0].item())]
                continue
        kept.append(row)
    return found


def _notes(
    images: Tensor, dropped: dict[str, str], keep: tuple[int, ...], min_references: int
) -> tuple[str, ...]:
    notes = []
    if dropped:
        some = "; ".join(f"{name}: {why}" for name, why in list(dropped.items())[:3])
        more = f"; and {len(dropped) - 3} more" if len(dropped) > 3 else ""
        notes.append(
            f"{len(dropped)} of {len(images)} references say nothing and are left out ({some}"
            f"{more}). Give other images in their place, or a baseline that is none of them."
        )
    if len(keep) < min_references:
        notes.append(
            f"{len(keep)} distinct references are too few for a decision: give at least "
            f"{min_references}, which may be any images of the models' domain."
        )
    low, high = images.min().item(), images.max().item()
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        notes.append(
            f"The references hold values from {low:.3g} to {high:.3g}; models take pixels in "
            "[0, 1]. Divide 8-bit images by 255, and leave normalisation to each model's "
            "preprocessing."
        )
    return tuple(notes)
