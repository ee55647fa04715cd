"""Whether a network was trained from the start that a usual seed gives."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelgif.lineage._origin_test import OriginTest, origin_test
from modelgif.lineage.correspondence import corresponding
from modelgif.lineage.model_tensors import Model, tensors_of

USUAL_SEEDS = (
    *range(100),
    *(101, 111, 123, 128, 200, 222, 233, 256, 300, 314, 321, 333, 369, 404, 420, 500, 512),
    *(555, 666, 777, 888, 999, 1000, 1024, 1111, 1234, 1337, 1729, 1996, 2000, 2048),
    *range(2015, 2027),
    *(2222, 2333, 3141, 3407, 4242, 4321, 5555, 6666, 7777, 8888, 9999, 10000, 12345, 31337),
    *(31415, 42424, 54321, 65535, 65536, 99999, 100000, 123456, 271828, 314159, 654321),
    *(1000000, 1234567, 12345678, 123456789),
)

# Standard deviations; 20 weights of 200 seeds go beyond it by chance in one search in four, which
# costs one whole test.
_SCREEN = 4.0


@dataclass(frozen=True)
class CommonSeed:
    """What `common_seed` found.

    Attributes:
        seed: the seed whose start the network shares; None if none of those tried.
        num_classes: the number of classes that it was built with; None for the builder's own.
        log10_p: of the origin test with it, times the number of starts tried; 0 without one.
        n_tried: starts tried.
        origin: the origin test with that start.
    """

    seed: int | None
    num_classes: int | None
    log10_p: float
    n_tried: int
    origin: OriginTest | None

    def __str__(self) -> str:
        if self.seed is None:
            return f"no common origin with any of {self.n_tried} usual starts"
        classes = "" if self.num_classes is None else f", {self.num_classes} classes"
        return (
            f"trained from the start of seed {self.seed}{classes}: log10 p = {self.log10_p:.4g} "
            f"after {self.n_tried} starts tried"
        )


def common_seed(
    model: Model,
    build: Callable[..., nn.Module],
    *,
    seeds: Iterable[int] = USUAL_SEEDS,
    level: float = 1e-3,
    example: Tensor | None = None,
) -> CommonSeed:
    """Returns which usual seed's initialisation a network was trained from, if any.

    Two parties who both call ``torch.manual_seed(42)`` and build one architecture start from the
    same weights, and so have a common origin without either having seen the other's network. For
    each seed the architecture is built, and its weights are held against the network's by their
    cosines, which is quick. Starts that come through are tried by `origin_test`; its p-value is
    multiplied by the number of all starts, so that the search is paid for.

    The random state of the caller is left as it was. A start also depends on the number of
    classes, as far as layers are drawn after the head or anew at the end: the builder's own number
    and, if it takes ``num_classes``, the network's are tried.

    Args:
        model: a module or a state dict.
        build: makes the architecture, with weights as they are drawn at the start.
        seeds: to try.
        level: greatest p-value that is taken for a common origin.
        example: see `origin_test`.

    Raises:
        ValueError: without seeds, or if what is built has no weight in common with the network.

    Example:
        >>> def network():
        ...     return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))
        >>> _ = torch.manual_seed(42)
        >>> common_seed(network(), network).seed
        42
        >>> _ = torch.manual_seed(987_654)
        >>> print(common_seed(network(), network))
        no common origin with any of 172 usual starts
    """
    seeds = tuple(dict.fromkeys(seeds))
    if not seeds:
        raise ValueError("seeds must hold at least one number, got none.")
    tensors = tensors_of(model)
    choices = list(_class_counts(tensors, build))
    n_tried = len(seeds) * len(choices)
    threshold = math.log10(level / n_tried)
    best: tuple[float, int, int | None, OriginTest] | None = None
    for num_classes in choices:
        for seed in seeds:
            start = _start(build, seed, num_classes)
            if _most_alike(tensors, tensors_of(start)) < _SCREEN:
                continue
            test = origin_test(start, model, example=example)
            if best is None or test.log10_p < best[0]:
                best = (test.log10_p, seed, num_classes, test)
    if best is None or best[0] > threshold:
        return CommonSeed(None, None, 0.0, n_tried, None)
    log10_p, seed, num_classes, test = best
    return CommonSeed(seed, num_classes, log10_p + math.log10(n_tried), n_tried, test)


def _class_counts(
    tensors: dict[str, Tensor], build: Callable[..., nn.Module]
) -> Iterator[int | None]:
    yield None
    try:
        taken = inspect.signature(build).parameters
    except (TypeError, ValueError):
        # Some builtins have no signature.
        return
    weights = [t for t in tensors.values() if t.ndim == 2]
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())
    if weights and ("num_classes" in taken or open_ended):
        yield len(weights[-1])


def _start(build: Callable[..., nn.Module], seed: int, num_classes: int | None) -> nn.Module:
    given: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(**given)


def _most_alike(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest cosine of two weights, in standard deviations of that of unrelated ones."""
    found = 0.0
    for name_a, name_b in corresponding(a, b)[0]:
        x, y = a[name_a], b[name_b]
        if x.ndim > 1 and x.shape == y.shape and x.numel() >= 64:
            x, y = x.flatten(1), y.flatten(1)
            # What all rows have in common is no sign of a start.
            x, y = x - x.mean(0), y - y.mean(0)
            size = float(x.norm() * y.norm())
            if size:
                found = max(found, float((x * y).sum()) / size * math.sqrt(x.numel()))
    return found
