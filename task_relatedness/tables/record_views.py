"""Looking things up in records, and what to call them.

Only the columns method, subject, quantity, value, n and spread of a frame are needed.
"""

from collections.abc import Iterable, Mapping

import pandas as pd

from modelgif.experiment.record import Measurement
from modelgif.experiment.record_values import values_by
from task_relatedness.method_name import MethodName
from task_relatedness.statistics.agreement import Reading

# What each reading is called, and the order of columns; rows with the diagonal are in the records.
READING_TITLES: Mapping[Reading, str] = {
    "columns_with_diagonal": "columns, with diagonal",
    "columns": "columns",
    "rows": "rows",
    "pairs": "all pairs",
}
SORTED_BY: Reading = "columns"
# What people call methods.
_METHODS = {
    "modelgif": "ModelGiF",
    "integrated_gradients": "integrated gradients",
    "saliency": "saliency",
    "gradient_input": "gradient × input",
    "rsa": "RSA",
    "cka": "CKA",
    "cka_standardised": "DDS, linear",
    "dds_cosine": "DDS, cosine",
    "dds_pearson": "DDS, pearson",
    "dds_laplacian": "DDS, laplacian",
    "depara": "DEPARA",
}


def to_frame(found: Mapping[str, Iterable[Measurement]]) -> pd.DataFrame:
    """Returns measurements by method as a frame like that of records, without their conditions."""
    rows = [{"method": name} | m._asdict() for name, of_method in found.items() for m in of_method]
    return pd.DataFrame(rows, columns=["method", *Measurement._fields])


def title(method: str) -> str:
    """Returns what tables call a method: what is not a `MethodName` keeps its own."""
    try:
        name = MethodName.parse(method)
    except ValueError:
        return method
    parts = [part for part in (name.references, name.target, name.baseline) if part is not None]
    return f"{_METHODS.get(name.method, name.method)} ({', '.join(parts)})".replace("_", " ")


def ordered(records: pd.DataFrame, truth: str) -> list[str]:
    """Returns the methods that have an agreement with a truth, best first."""
    value = by_reading(records, truth, "value")
    names = dict.fromkeys(name for name, _ in value)
    return sorted(names, key=lambda name: -value.get((name, SORTED_BY), float("-inf")))


def by_method(
    records: pd.DataFrame, subject: str, quantity: str, *, column: str = "value"
) -> dict[str, float]:
    """Returns one quantity of one subject, by method."""
    return values_by(records, "method", subject=subject, quantity=quantity, column=column)


def by_reading(
    records: pd.DataFrame, truth: str, what: str, *, column: str = "value"
) -> dict[tuple[str, str], float]:
    """Returns one number of each reading, by method and reading; `what` may be ``value``."""
    ending = "" if what == "value" else f".{what}"
    return {
        (name, reading): number
        for reading in READING_TITLES
        for name, number in by_method(records, truth, reading + ending, column=column).items()
    }
