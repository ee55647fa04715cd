"""Work that several processes share through a folder, even if some of them die."""

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# How long to wait for what others hold: at first, and each time longer, up to the last.
_WAIT, _LONGER, _LONGEST_WAIT = 0.01, 1.25, 0.5


_DONE = b"done by"
# Of what an item is called in the name of its claim.
_LONGEST_LABEL = 60


@dataclass(frozen=True)
class Claim:
    """What a folder of claims says of one item.

    Attributes:
        label: what the item is called.
        held: whether a worker is at it now.
        done: whether it was done.
    """

    label: str
    held: bool
    done: bool


def claims_in(folder: Path) -> Iterator[Claim]:
    """Gives the claims in a folder by name, without waiting for any; none if it does not exist."""
    for path in sorted(folder.glob("*.claim")):
        with path.open("rb") as file:
            try:
                # Shared, and let go at once: a worker that meets it tries again.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                held = False
            except BlockingIOError:
                held = True
            yield Claim(path.name.rpartition("-")[0], held, file.read().startswith(_DONE))


class Claims:
    """Who does what, as locked files in a folder; a lock goes with its process.

    Each worker goes through all items, starting at a different one, and does those that no other
    worker has begun.
    At the end it waits for what others hold, and takes over what they release without having done
    it. So all items are done when it is through, however many workers there were and died. What is
    done is marked, and a mark counts if it is newer than these claims: if an item is asked for
    although it has an older mark, its result has been deleted since.

    Args:
        folder: seen by all workers, on a file system with locks (`flock`).
        shard: number of this worker, and count of all.

    Raises:
        OSError: when the file system has no locks.
    """

    def __init__(self, folder: Path, shard: tuple[int, int]) -> None:
        self._folder, self._shard = folder, shard
        folder.mkdir(parents=True, exist_ok=True)
        begun = folder / f"begun-{shard[0]}"
        begun.touch()
        # By the clock of the file system, which all workers share.
        self._begun = begun.stat().st_mtime_ns

    def share(
        self,
        function: Callable[[T], object],
        items: Sequence[T],
        each: Callable[[], object] = lambda: None,
    ) -> list[Exception]:
        """Returns what `function` raised here, once all items are done or have failed here.

        Args:
            function: of one item.
            items: with the same `repr` in each worker.
            each: called for each item that is done, here or elsewhere.
        """
        first = len(items) * self._shard[0] // self._shard[1]
        left, errors, wait = [*items[first:], *items[:first]], [], _WAIT
        while left:
            held = []
            for item in left:
                try:
                    mine = self._do(function, item)
                except Exception as error:
                    errors.append(error)
                    mine = True
                if mine:
                    each()
                else:
                    held.append(item)
            # If something was done, there may be more that no worker holds by now.
            if len(held) == len(left):
                time.sleep(wait)
                wait = min(wait * _LONGER, _LONGEST_WAIT)
            else:
                wait = _WAIT
            left = held
        return errors

    def _do(self, function: Callable[[T], object], item: T) -> bool:
        """Whether the item is done now; not if somebody else holds it."""
        with open(self._folder / _name(function, item), "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            state = os.fstat(file.fileno())
            if state.st_size == 0 or state.st_mtime_ns < self._begun:
                function(item)
                file.write(f"done by {self._shard[0]} of {self._shard[1]}\n")
        return True


def _name(function: Callable[[T], object], item: T) -> str:
    inner, words = function, [repr(item)]
    while isinstance(inner, partial):
        words += [repr(inner.args), repr(sorted(inner.keywords.items()))]
        inner = inner.func
    words = " ".join([getattr(inner, "__qualname__", ""), *words])
    if re.search(r" at 0x[0-9a-f]+>", words):
        raise ValueError(
            f"work to be shared must have a repr that says what it is, got {words[:300]}."
        )
    label = re.sub(r"[^\w.]+", "-", str(getattr(item, "name", item))).strip("-")[:_LONGEST_LABEL]
    return f"{label}-{hashlib.sha256(words.encode()).hexdigest()[:32]}.claim"
