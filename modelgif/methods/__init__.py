"""Rival methods: each a file with ``describe`` (once per model) and ``compare`` (per pair).

A distance is smaller for nearer models and 0 for identical ones. Where it is a mean over
references, ``per_reference`` gives its terms. What a method needs and is, its file declares in
``METHODS``; a new file needs no entry anywhere else (docs/extend.md).
"""

from collections.abc import Mapping

from modelgif.methods._superpixels import superpixels
from modelgif.methods.method import Access, Method
from modelgif.methods.registry import in_order, methods_in, modules_of

_MODULES = modules_of(__name__, __path__)
METHODS: Mapping[str, Method] = in_order(methods_in(_MODULES))

# The least that the methods of each file must see of a suspect: of its first, which is the plain
# one. SAC also has a variant for labels.
ACCESS: Mapping[str, Access] = {
    module.__name__.rpartition(".")[2]: module.METHODS[0].access
    for module in _MODULES
    if hasattr(module, "METHODS")
}

__all__ = ["ACCESS", "METHODS", "Access", "Method", "superpixels"]
