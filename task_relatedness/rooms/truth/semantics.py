"""What things are."""

from collections.abc import Sequence

import numpy as np

from task_relatedness.rooms.classes import OBJECT_CLASSES, SEMANTIC_CLASSES


def semantic_labels(thing: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Returns positions in `SEMANTIC_CLASSES`, ``[H, W]`` int64.

    Args:
        thing: ``[H, W]``, positions in `labels`.
        labels: of each thing.
    """
    return np.array([SEMANTIC_CLASSES.index(label) for label in labels])[thing]


def main_object(thing: np.ndarray, labels: Sequence[str]) -> int:
    """Returns the class, a position in `OBJECT_CLASSES`, of the object with most pixels.

    Of two with equally many, the one listed first. The house itself, with doors, windows, pictures
    and rugs, does not count.

    Args:
        thing: ``[H, W]``, positions in `labels`.
        labels: of each thing.

    Raises:
        ValueError: when no object is seen.
    """
    counts = np.bincount(thing.ravel(), minlength=len(labels))
    objects = [i for i, label in enumerate(labels) if label in OBJECT_CLASSES and counts[i]]
    if not objects:
        raise ValueError("expected a view of at least one object; got walls only.")
    return OBJECT_CLASSES.index(labels[max(objects, key=lambda i: counts[i])])
