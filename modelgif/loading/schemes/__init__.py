"""The schemes of model addresses: one module per scheme, found by its name.

A module here declares a `modelgif.loading.scheme.Scheme` as ``SCHEME``. Nothing else lists the
schemes: addresses, the command line, the tests and the page of addresses ask this package, which
imports a module when its scheme is asked for.
"""

import importlib
import pkgutil
from functools import cache

from modelgif.loading.scheme import Scheme


@cache
def scheme_names() -> tuple[str, ...]:
    """Returns the names of all schemes, in alphabetical order; nothing is imported for it."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@cache
def find_scheme(name: str) -> Scheme:
    """Returns the scheme of a name among `scheme_names`.

    Raises:
        LookupError: for a module that does not declare the scheme of its name.
    """
    found = getattr(importlib.import_module(f"{__name__}.{name}"), "SCHEME", None)
    if not isinstance(found, Scheme) or found.name != name:
        raise LookupError(
            f"{__name__}.{name} must declare SCHEME, a Scheme with name={name!r}, got {found!r}."
        )
    return found


def all_schemes() -> tuple[Scheme, ...]:
    """Returns every scheme, in alphabetical order."""
    return tuple(find_scheme(name) for name in scheme_names())
