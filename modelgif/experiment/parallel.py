"""Work on many items in processes of one thread each, here or on a cluster."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

import torch
from tqdm import tqdm

from modelgif.experiment.launch import current_launch
from modelgif.experiment.on_ray import on_ray

T = TypeVar("T")


def for_each(
    function: Callable[[T], object],
    items: Sequence[T],
    *,
    title: str,
    unit: str,
    workers: int | None = None,
) -> None:
    """Calls `function` with every item, in `workers` processes, behind a progress bar.

    Small networks train fastest on one thread, and one thread adds up numbers in one order: so
    each process has one, and results depend neither on the number of workers nor on the machine's
    cores. Within `modelgif.experiment.launch.launching`, the processes may be those of a Ray
    cluster, or this process may be one of several that share the items.

    Args:
        function: of one item; with several workers it must be found by its module and name.
        items: each independent of the others.
        title: what the bar says.
        unit: of the bar.
        workers: number of processes; 1 works in this process, None takes one per core. A Ray
            cluster and a shard have their own number.

    Raises:
        ExceptionGroup: of what calls raised, once all items have been tried.
    """
    errors: list[Exception] = []
    launch = current_launch()
    workers = min(workers or os.cpu_count() or 1, len(items))
    with tqdm(total=len(items), desc=title, unit=unit) as bar:
        if launch.claims is not None:
            with _one_thread():
                errors = launch.claims.share(function, items, bar.update)
        elif launch.launcher == "ray":
            errors = on_ray(function, items, bar.update)
        elif workers <= 1:
            for item in items:
                try:
                    with _one_thread():
                        function(item)
                except Exception as error:
                    errors.append(error)
                bar.update()
        else:
            errors = _in_processes(function, items, workers, bar)
    if errors:
        raise ExceptionGroup(f"{title}: {len(errors)} of {len(items)} failed", errors)


def workers_on(device: torch.device) -> int | None:
    """Returns the `workers` of `for_each` for work on `device`: one where it is not the CPU.

    Processes would only compete for another device.
    """
    return None if device.type == "cpu" else 1


def _in_processes(
    function: Callable[[T], object], items: Sequence[T], workers: int, bar: tqdm
) -> list[Exception]:
    errors: list[Exception] = []
    # Fresh interpreters: forking one that has used torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        pending = [pool.submit(function, item) for item in items]
        try:
            for done in as_completed(pending):
                error = done.exception()
                if isinstance(error, Exception):
                    errors.append(error)
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return errors


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
