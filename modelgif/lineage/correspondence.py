"""Which tensor of one model is which of another, by their names, or by their order and shapes."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from torch import Tensor

from modelgif.lineage.model_tensors import STATISTICS


def corresponding(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor]
) -> tuple[list[tuple[str, str]], str]:
    """Returns pairs of names of tensors that take the same place, and how they were found.

    Names count if at least half of the weights of the smaller model are found in the other one.
    Otherwise the weights are aligned by their order and shapes, and what lies between two aligned
    weights, biases and norms, by order and shapes as well. Values play no part in it.

    Raises:
        ValueError: if no weight of one model has a place in the other.

    Example:
        >>> import torch
        >>> a = {"0.weight": torch.zeros(4, 3), "2.weight": torch.zeros(2, 4)}
        >>> b = {"stem.weight": torch.ones(4, 3), "head.weight": torch.ones(9, 4, 1, 1)}
        >>> corresponding(a, b)
        ([('0.weight', 'stem.weight')], 'by order and shapes')
    """
    weights_a, weights_b = _weights(a), _weights(b)
    common = [n for n in weights_a if n in b and a[n].ndim == b[n].ndim]
    if 2 * len(common) >= min(len(weights_a), len(weights_b)) > 0:
        pairs = [(n, n) for n in a if n in b and a[n].ndim == b[n].ndim and a[n].ndim]
        return [pair for pair in pairs if "num_batches" not in pair[0]], "by name"
    aligned = _aligned(weights_a, weights_b, a, b)
    if not aligned:
        raise ValueError(
            "the models must share an architecture, or the first layers of one, but no weight of "
            f"one has the shape of a weight of the other: {len(weights_a)} weights, the first "
            f"{_shape(a, weights_a)}, and {len(weights_b)}, the first {_shape(b, weights_b)}."
        )
    pairs: list[tuple[str, str]] = []
    for (name_a, name_b), (next_a, next_b) in zip(aligned, [*aligned[1:], ("", "")], strict=True):
        pairs.append((name_a, name_b))
        between_a = _between(a, name_a, next_a, weights_a)
        between_b = _between(b, name_b, next_b, weights_b)
        pairs += _by_ending(between_a, between_b, a, b)
    return pairs, "by order and shapes"


def _weights(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if tensor.ndim >= 2]


def _shape(tensors: Mapping[str, Tensor], names: Sequence[str]) -> list[int]:
    return list(tensors[names[0]].shape) if names else []


def _aligned(
    weights_a: Sequence[str],
    weights_b: Sequence[str],
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
) -> list[tuple[str, str]]:
    kinds_a = [(a[n].ndim, *a[n].shape[2:]) for n in weights_a]
    kinds_b = [(b[n].ndim, *b[n].shape[2:]) for n in weights_b]
    if kinds_a == kinds_b:
        # One network of other widths.
        return list(zip(weights_a, weights_b, strict=True))
    shapes_a, shapes_b = (
        [tuple(t[n].shape) for n in w] for t, w in ((a, weights_a), (b, weights_b))
    )
    blocks = SequenceMatcher(None, shapes_a, shapes_b, autojunk=False).get_matching_blocks()
    return [
        (weights_a[block.a + i], weights_b[block.b + i])
        for block in blocks
        for i in range(block.size)
    ]


def _between(
    tensors: Mapping[str, Tensor], name: str, following: str, weights: Sequence[str]
) -> list[str]:
    names = list(tensors)
    start = names.index(name) + 1
    found: list[str] = []
    for other in names[start:]:
        if other == following or other in weights:
            break
        if tensors[other].ndim == 1:
            found.append(other)
    return found


def _by_ending(
    between_a: Sequence[str],
    between_b: Sequence[str],
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
) -> list[tuple[str, str]]:
    shapes_a = [(_ending(n), tuple(a[n].shape)) for n in between_a]
    shapes_b = [(_ending(n), tuple(b[n].shape)) for n in between_b]
    # A folded norm leaves another number of tensors, which then say something else.
    return list(zip(between_a, between_b, strict=True)) if shapes_a == shapes_b else []


def _ending(name: str) -> str:
    last = name.rpartition(".")[2]
    return last if last in (*STATISTICS, "bias", "weight") else ""
