"""How many samples pass through a model at a time: found from the device, halved when it fills."""

from collections.abc import Callable

import torch
from torch import Tensor

# Measured on x86 with six networks of 8² to 224² inputs: beyond some 200,000 input values, the
# activations of one layer leave the caches, and passes get slower by a tenth up to a half; below,
# the weights are fetched too often.
_CPU_VALUES, _CPU_FEWEST, _CPU_MOST = 3 * 2**16, 4, 512
# Elsewhere a pass must fill the device; more only takes memory.
_DEVICE_VALUES, _DEVICE_MOST = 2**25, 4096
# Of the free memory, what may be asked for, in saved activations. As much again goes into gradients
# and the workspace of convolutions.
_SHARE = 0.3


def micro_batch(model: Callable[[Tensor], object], x: Tensor) -> int:
    """Returns how many samples like ``x[0]`` one forward and backward pass should take.

    On the CPU this depends on the size of the input alone. Elsewhere it is as many as fit into the
    free memory by the activations that one sample leaves behind, up to what fills a device. A power
    of two, so that a little more or less free memory gives the same number.

    Args:
        model: in evaluation mode.
        x: ``[N, *input_shape]``, N ≥ 1, on the device of the model.
    """
    values = max(1, x[0].numel())
    if x.device.type == "cpu":
        return _power_of_two(min(max(_CPU_VALUES // values, _CPU_FEWEST), _CPU_MOST))
    size = min(_DEVICE_VALUES // values, _DEVICE_MOST)
    if x.device.type == "cuda":
        size = min(size, int(_SHARE * _free(x.device)) // saved_bytes(model, x[:1]))
    return _power_of_two(max(1, size))


def saved_bytes(model: Callable[[Tensor], object], x: Tensor) -> int:
    """Returns the bytes that a forward pass of `x` keeps for the backward pass, at least `x`'s."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        # Held until all is counted: the address of a freed one would come again.
        output = model(x.detach().clone().requires_grad_().clone())
        if isinstance(model, torch.nn.Module):
            for weight in (*model.parameters(), *model.buffers()):
                kept.pop(weight.untyped_storage().data_ptr(), None)
        del output
    return max(sum(kept.values()), x.numel() * x.element_size())


def in_chunks(total: int, size: int, work: Callable[[int, int], None]) -> int:
    """Calls ``work(first, stop)`` for successive ranges up to `total`, and returns their size.

    Where memory runs out, the range and all that follow are halved.

    Raises:
        RuntimeError: torch's own, when there is no memory for a range of one.
    """
    first = 0
    while first < total:
        stop = min(first + size, total)
        if _fits(work, first, stop):
            first = stop
        else:
            # Out of the handler: an error being handled keeps its tensors alive.
            size = (stop - first) // 2
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
    return size


def _fits(work: Callable[[int, int], None], first: int, stop: int) -> bool:
    try:
        work(first, stop)
    except RuntimeError as error:
        if stop - first == 1 or not _out_of_memory(error):
            raise
        return False
    return True


def _out_of_memory(error: RuntimeError) -> bool:
    # On the CPU torch has no class of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free(device: torch.device) -> int:
    """Bytes that torch can still get: what the device has, and what torch holds unused."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _power_of_two(size: int) -> int:
    return 1 << (size.bit_length() - 1)
