"""Where the work of a stage is done: processes of this machine, Ray, or several shards."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

from modelgif.experiment.claims import Claims

Launcher = Literal["local", "ray"]
LAUNCHERS: tuple[Launcher, ...] = get_args(Launcher)


@dataclass(frozen=True)
class Launch:
    """How `modelgif.experiment.parallel.for_each` does its work.

    Attributes:
        launcher: ``local`` processes, or tasks of a Ray cluster.
        claims: shared with other workers that do the same stage; None for one that is alone.
    """

    launcher: Launcher = "local"
    claims: Claims | None = None


_CURRENT: ContextVar[Launch] = ContextVar("launch")


def current_launch() -> Launch:
    """Returns what the innermost `launching` says; local processes outside of any."""
    return _CURRENT.get(Launch())


@contextmanager
def launching(launch: Launch) -> Iterator[None]:
    """Does the work of every `for_each` inside as `launch` says.

    A context, because a stage need not know where its work is done.
    """
    token = _CURRENT.set(launch)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def parse_shard(text: str) -> tuple[int, int]:
    """Returns ``(i, n)`` of ``i/n``.

    Raises:
        ValueError: for another form, or i not below n.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or int(found[1]) >= int(found[2]):
        raise ValueError(
            f"a shard is i/n with i from 0 to n - 1, such as 0/4 and 3/4 for four; got {text!r}."
        )
    return int(found[1]), int(found[2])
