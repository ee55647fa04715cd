"""The testbed's tables, made from the records."""

from pathlib import Path

import pandas as pd

from model_unlearning.extract_fields import IMAGE_SETS
from model_unlearning.measure import ORDER, TO_ORIGINAL, TO_RETRAINED, verdict
from model_unlearning.performance import QUANTITIES
from modelgif.experiment.record_values import values_by

PAPER = Path(__file__).parent / "results" / "paper.csv"
_HEADINGS = {"forgotten": "forgotten images", "held_out": "held-out images"}


def final_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns the distances to the original after the last epoch, the paper's beside ours.

    The rows after them are the differences that the paper's order consists of.

    Args:
        records: ``records.csv``.
    """
    paper = pd.read_csv(PAPER)
    paper["comparison"] = paper["comparison"].replace({"approx": "approximate"})
    published = paper.pivot(index="comparison", columns="dataset", values="distance")
    final = {images: _spreads(records, f"final_{TO_ORIGINAL}.{images}") for images in IMAGE_SETS}
    order = {images: _spreads(records, f"order.{images}") for images in IMAGE_SETS}
    kinds = list(dict.fromkeys(["direct", "unrelated", "approximate", *final["forgotten"]]))
    rows = []
    for kind in (kind for kind in kinds if kind in final["forgotten"]):
        theirs = {f"paper, {name}": published[name].get(kind) for name in published}
        ours = {_HEADINGS[images]: _interval(*final[images][kind]) for images in IMAGE_SETS}
        rows.append({"model": kind} | theirs | ours)
    for far, near in ORDER:
        name = f"{far} - {near}"
        if name in order["forgotten"]:
            theirs = {
                f"paper, {data}": published[data][far] - published[data][near] for data in published
            }
            ours = {_HEADINGS[images]: _interval(*order[images][name]) for images in IMAGE_SETS}
            rows.append({"model": f"{far} − {near}"} | theirs | ours)
    return pd.DataFrame(rows)


def verdict_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per model and image set: how far it is from either side, and which is nearer.

    The first two rows of an image set are the sides themselves: ``original`` is the distance of
    two originals, and of the original to the retrained; ``retrained``
    is the distance of the original to the retrained, and of two retrained models.

    Args:
        records: ``records.csv``.
    """
    rows = []
    for images in IMAGE_SETS:
        to_original = _spreads(records, f"final_{TO_ORIGINAL}.{images}")
        to_retrained = _spreads(records, f"final_{TO_RETRAINED}.{images}")
        sides = {"original": ("unrelated", "reference"), "retrained": ("direct", "direct")}
        for name, (first, second) in sides.items():
            if second in to_retrained:
                rows.append(_row(images, name, to_original[first], to_retrained[second]))
        for kind, (value, spread) in _spreads(records, f"nearer_to_retraining.{images}").items():
            row = _row(images, kind, to_original[kind], to_retrained[kind])
            decision = {"difference": _interval(value, spread), "nearer to": verdict(value, spread)}
            rows.append(row | decision)
    return pd.DataFrame(rows)


def performance_table(records: pd.DataFrame) -> pd.DataFrame:
    """Returns the accuracies and the membership AUC of each kind of model after its last epoch.

    Args:
        records: ``records.csv``.
    """
    measured = {quantity: _spreads(records, f"final_{quantity}") for quantity in QUANTITIES}
    return pd.DataFrame(
        {"model": kind}
        | {quantity.replace("_", " "): _interval(*of[kind]) for quantity, of in measured.items()}
        for kind in measured["membership_auc"]
    )


def _spreads(records: pd.DataFrame, quantity: str) -> dict[str, tuple[float, float | None]]:
    """Value and spread of one quantity by subject, in the order of the records."""
    spreads = values_by(records, "subject", quantity=quantity, column="spread")
    return {
        subject: (value, None if pd.isna(spreads[subject]) else spreads[subject])
        for subject, value in values_by(records, "subject", quantity=quantity).items()
    }


def _row(
    images: str,
    name: str,
    to_original: tuple[float, float | None],
    to_retrained: tuple[float, float | None],
) -> dict[str, str]:
    return {
        "images": _HEADINGS[images],
        "model": name,
        "to the original": _interval(*to_original),
        "to the retrained": _interval(*to_retrained),
    }


def _interval(value: float, spread: float | None) -> str:
    return f"{value:.3f}" if spread is None else f"{value:.3f} ± {spread:.3f}"
