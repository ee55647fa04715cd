import pandas as pd
import pytest

from modelgif.experiment.record_values import values_by

RECORDS = pd.DataFrame(
    [
        ("fields", "b", "auc", 0.9, 4),
        ("fields", "a", "auc", 0.5, 3),
        ("labels", "a", "auc", float("nan"), 2),
        ("fields", "a", "tpr", 0.1, 1),
    ],
    columns=["method", "subject", "quantity", "value", "n"],
)


def test_one_quantity_by_one_column_in_the_order_of_the_records() -> None:
    found = values_by(RECORDS, "subject", method="fields", quantity="auc")
    assert list(found.items()) == [("b", 0.9), ("a", 0.5)]
    assert values_by(RECORDS, "subject", column="n", method="fields", quantity="auc") == {
        "b": 4,
        "a": 3,
    }


def test_several_columns_are_a_tuple_and_missing_numbers_stay() -> None:
    found = values_by(RECORDS, ("method", "subject"), quantity="auc")
    assert list(found) == [("fields", "b"), ("fields", "a"), ("labels", "a")]
    assert pd.isna(found["labels", "a"])


def test_what_is_not_there_is_an_empty_result() -> None:
    assert values_by(RECORDS, "subject", quantity="nothing") == {}


def test_records_that_are_not_told_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="a has two records of {'method': 'fields'}"):
        values_by(RECORDS, "subject", method="fields")
