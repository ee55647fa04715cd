"""The libraries that a stored result depends on."""

import platform
from importlib import metadata

import torch


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that a field depends on."""
    known = {name: metadata.version(name) for name in ("h5py", "modelgif", "numpy")}
    # torch's own version tells CPU and CUDA builds apart.
    return known | {"python": platform.python_version(), "torch": str(torch.__version__)}
