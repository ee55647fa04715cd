"""Work on many items as tasks of a Ray cluster."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch

T = TypeVar("T")

# The death of a worker is not the fault of the work.
_RETRIES = -1
# The least that Ray accepts: no field passes through it.
_STORE_BYTES = 80 * 2**20


def on_ray(
    function: Callable[[T], object], items: Sequence[T], each: Callable[[], object] = lambda: None
) -> list[Exception]:
    """Returns what calls of `function` raised, once each item has been tried on a Ray cluster.

    The cluster is the one that Ray is connected to, or the one that ``RAY_ADDRESS`` names, or one
    of this machine's cores for as long as the work takes. Each task has one core and one thread.
    The task of a worker that dies is done again by another. Only items and the function travel:
    results are files in a folder that all machines share.

    Args:
        function: of one item, found by its module and name; its result is dropped.
        items: each independent of the others.
        each: called as items get done.

    Raises:
        ModuleNotFoundError: without Ray, saying what to install.
    """
    try:
        import ray
        from ray.exceptions import RayTaskError
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the launcher ray needs Ray: pip install 'modelgif[ray]'."
        ) from error
    if not items:
        return []
    started = not ray.is_initialized()
    if started:
        # Otherwise Ray reports usage statistics.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, log_to_driver=False, object_store_memory=_STORE_BYTES)
    try:
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_call)
        named = _by_its_module(function)
        pending = [task.remote(named, item) for item in items]
        errors: list[Exception] = []
        while pending:
            done, pending = ray.wait(pending)
            try:
                ray.get(done)
            except RayTaskError as error:
                errors.append(error.cause if isinstance(error.cause, Exception) else error)
            each()
        return errors
    finally:
        if started:
            ray.shutdown()


def _call(function: Callable[[Any], object], item: Any) -> None:
    torch.set_num_threads(1)
    function(item)


def _by_its_module(function: Callable[[T], object]) -> Callable[[T], object]:
    """The function as another process can import it, where this one ran its module as a script."""
    if isinstance(function, partial):
        inner = _by_its_module(function.func)
        return partial(inner, *function.args, **function.keywords)
    script = sys.modules["__main__"].__spec__
    if getattr(function, "__module__", "") != "__main__" or script is None:
        return function
    return getattr(importlib.import_module(script.name), function.__qualname__)
