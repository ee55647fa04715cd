"""What the speed of a run depends on."""

import os
import platform
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Returns what the speed of a run depends on: processor, cores, threads, CUDA device."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
