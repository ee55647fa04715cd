"""Writing what a device has computed while it computes the next."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor


class Background:
    """Calls functions with tensors on the host, one call at a time, while the caller goes on.

    For a CUDA device the copy is into pinned memory and waits for no later work of the device; for
    the CPU, where a second thread would only compete, calls are made at once. Used as a context,
    whose end waits for the last call.

    Args:
        device: where the tensors are.
        threaded: whether calls are made in a thread; by default where the device is not the CPU.
    """

    def __init__(self, device: torch.device | str, *, threaded: bool | None = None) -> None:
        device = torch.device(device)
        threaded = device.type != "cpu" if threaded is None else threaded
        self._thread = ThreadPoolExecutor(1) if threaded else None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._last: Future[None] | None = None

    def call(self, function: Callable[[Tensor], object], tensor: Tensor) -> None:
        """Calls ``function(tensor)`` once the call before is done.

        Raises:
            Exception: what the call before raised.
        """
        if self._thread is None:
            function(tensor)
            return
        # No more than one tensor waits: memory is that of two.
        self._wait()
        ready = None
        if self._stream is not None:
            ready = torch.cuda.Event()
            ready.record(torch.cuda.current_stream(tensor.device))
        self._last = self._thread.submit(self._run, function, tensor, ready)

    def _run(
        self, function: Callable[[Tensor], object], tensor: Tensor, ready: torch.cuda.Event | None
    ) -> None:
        if self._stream is None or ready is None:
            function(tensor.cpu())
            return
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(ready)
            host.copy_(tensor, non_blocking=True)
        self._stream.synchronize()
        function(host)

    def _wait(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is None:
            return
        try:
            # An error of the caller is the one to tell.
            if kind is None:
                self._wait()
        finally:
            self._thread.shutdown()
