"""The methods of the table: fields over some of their steps, and the rivals of `modelgif.methods`.

A rival is named, described and compared as its own file declares; nothing is listed here.
"""

from collections.abc import Callable, Mapping

from modelgif.methods import METHODS, Method

# The steps of the path that a distance of fields is the mean over, by their number. The last one
# is the integrated gradient.
FIELD_STEPS: Mapping[str, Callable[[int], slice]] = {
    "field": lambda n_steps: slice(None),
    "field_last": lambda n_steps: slice(n_steps - 1, n_steps),
    "field_late": lambda n_steps: slice(n_steps // 2, n_steps),
}

# Rivals whose score is a mean over references, so that a choice of references is a choice of
# columns, and those that compare a set of references as a whole.
PER_REFERENCE: Mapping[str, Method] = {n: m for n, m in METHODS.items() if m.is_per_reference}
SETS: Mapping[str, Method] = {n: m for n, m in METHODS.items() if not m.is_per_reference}

PER_REFERENCE_NAMES = (*FIELD_STEPS, *PER_REFERENCE)
SET_NAMES = tuple(SETS)
