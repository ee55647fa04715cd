"""The testbed's statistics: means over replicates, the paper's order, and which side is nearer."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import scipy.stats

from model_unlearning.performance import QUANTITIES
from modelgif.experiment.record import Measurement

TO_ORIGINAL, TO_RETRAINED = "distance_to_original", "distance_to_retrained"
# The paper's claim: each is farther from the reference than the next.
ORDER = (("direct", "unrelated"), ("unrelated", "approximate"))
Verdict = Literal["retraining", "original", "undecided"]


def by_checkpoint(records: pd.DataFrame) -> pd.DataFrame:
    """Returns the records about checkpoints with the columns kind, replicate and epoch beside."""
    parts = records["subject"].str.extract(
        r"^(?P<kind>\w+)-(?P<replicate>\d+)\.epoch-(?P<epoch>\d+)$"
    )
    rows = pd.concat([parts, records[["quantity", "value"]]], axis=1).dropna(subset=["kind"])
    return rows.astype({"replicate": int, "epoch": int}).reset_index(drop=True)


def summaries(checkpoints: pd.DataFrame, image_sets: Sequence[str]) -> list[Measurement]:
    """Returns what the last checkpoints say, each a mean over replicates with its 95 % interval.

    - ``final_<quantity>`` of each kind: accuracies, membership AUC, distances
    - ``order.<image set>`` of ``direct - unrelated`` and ``unrelated - approximate``: differences
      of distances to the original, within a replicate
    - ``nearer_to_retraining.<image set>`` of each kind that was made to forget: its distance to
      the original less that to the retrained model, within a replicate

    Args:
        checkpoints: from `by_checkpoint`.
        image_sets: where fields were measured.
    """
    last = checkpoints["epoch"] == checkpoints.groupby("kind")["epoch"].transform("max")
    ends = checkpoints[last].set_index("replicate")
    keys = dict.fromkeys(zip(ends["quantity"], ends["kind"], strict=True))
    table = {
        (quantity, kind): ends.loc[(ends["quantity"] == quantity) & (ends["kind"] == kind), "value"]
        for quantity, kind in keys
    }
    distances = [f"{to}.{images}" for to in (TO_ORIGINAL, TO_RETRAINED) for images in image_sets]
    found = [
        _mean(kind, f"final_{quantity}", values)
        for (quantity, kind), values in table.items()
        if quantity in (*QUANTITIES, *distances)
    ]
    for images in image_sets:
        original = f"{TO_ORIGINAL}.{images}"
        for far, near in ORDER:
            if (original, near) in table:
                apart = table[original, far] - table[original, near]
                found.append(_mean(f"{far} - {near}", f"order.{images}", apart))
        for quantity, kind in table:
            if quantity == original and kind not in ("reference", "unrelated", "direct"):
                apart = table[original, kind] - table[f"{TO_RETRAINED}.{images}", kind]
                found.append(_mean(kind, f"nearer_to_retraining.{images}", apart))
    return found


def half_width(values: Sequence[float] | np.ndarray) -> float | None:
    """Returns half the width of the 95 % interval of the mean (Student), None for one value."""
    n = len(values)
    if n < 2:
        return None
    deviation = float(np.std(values, ddof=1))
    return float(scipy.stats.t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)


def verdict(difference: float, spread: float | None) -> Verdict:
    """Returns which of the two a model is nearer to, if its 95 % interval excludes neither.

    Args:
        difference: distance to the original less distance to the retrained model.
        spread: half the width of its interval; None when it is unknown.
    """
    if spread is None or abs(difference) <= spread:
        return "undecided"
    return "retraining" if difference > 0 else "original"


def _mean(subject: str, quantity: str, values: pd.Series) -> Measurement:
    numbers = values.to_numpy(dtype=float)
    return Measurement(subject, quantity, float(numbers.mean()), len(numbers), half_width(numbers))
