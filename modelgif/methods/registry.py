"""All rival methods, read from the files of this package: a new file is a new method."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType

from modelgif.methods.method import Method


def methods_in(modules: Iterable[ModuleType]) -> dict[str, Method]:
    """Returns the methods that `modules` declare in ``METHODS``, by name.

    A module without one holds no method, such as `modelgif.methods.method`.

    Raises:
        ValueError: for two methods of one name, with both files.
        TypeError: for an entry that is not a `Method`.
    """
    found: dict[str, Method] = {}
    files: dict[str, str] = {}
    for module in modules:
        for method in getattr(module, "METHODS", ()):
            if not isinstance(method, Method):
                raise TypeError(
                    f"METHODS of {module.__name__} must hold instances of Method, got {method!r}."
                )
            if method.name in found:
                raise ValueError(
                    f"{files[method.name]} and {module.__name__} both declare the method "
                    f"{method.name}: rename one."
                )
            found[method.name], files[method.name] = method, module.__name__
    return found


def modules_of(package: str, path: Iterable[str]) -> list[ModuleType]:
    """Returns the public modules of a package, by name, imported; the registry itself left out."""
    names = sorted(found.name for found in pkgutil.iter_modules(list(path)))
    return [
        importlib.import_module(f"{package}.{name}")
        for name in names
        if not name.startswith("_") and f"{package}.{name}" != __name__
    ]


def in_order(methods: Mapping[str, Method]) -> dict[str, Method]:
    """Returns methods by what they must see of a suspect, the least first, then by name."""
    ranks = ("labels", "scores", "features", "gradients", "weights")
    order = sorted(methods.values(), key=lambda method: (ranks.index(method.access), method.name))
    return {method.name: method for method in order}
