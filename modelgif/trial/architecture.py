"""Which models have one architecture."""

import hashlib
import json

from torch import nn

from modelgif.loading.preprocessing import Preprocessed


def architecture_of(model: nn.Module) -> str:
    """Returns the network's class and a digest of its weights' names and shapes.

    Two models with the same text have the same architecture, whatever their files say.

    Example:
        >>> architecture_of(nn.Linear(2, 3)) == architecture_of(nn.Linear(2, 3))
        True
    """
    network = model.network if isinstance(model, Preprocessed) else model
    shapes = [(name, list(w.shape)) for name, w in sorted(network.state_dict().items())]
    digest = hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:8]
    return f"{type(network).__name__}-{digest}"
