import math
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelgif.experiment import sealed_csv
from modelgif.experiment.record import Record, read_records, write_records
from modelgif.experiment.sealed_csv import SealError

AUC = Record(
    testbed="intellectual_property_protection",
    config="small-0012e5",
    method="modelgif",
    subject="pruned, 30 %",
    quantity="auc",
    value=0.1 + 0.2,
    n=40,
    spread=1 / 3,
    seed=0,
    commit="1234567",
)
AWKWARD = [
    AUC,
    replace(AUC, method="NA", value=5e-324, n=None, spread=None),
    replace(AUC, subject='a "quoted"\nname', value=-1.7976931348623157e308, seed=2**62),
    replace(AUC, quantity="tpr", value=1, commit="1e5"),
]


def test_every_field_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "records.csv"
    write_records(path, AWKWARD)
    frame = read_records(path).astype(object)
    rows = frame.where(frame.notna(), None).itertuples(index=False, name=None)
    assert {Record(*row) for row in rows} == set(AWKWARD)


def test_float32_values_keep_their_exact_value(tmp_path: Path) -> None:
    value = np.float32(0.1)
    write_records(tmp_path / "r.csv", [replace(AUC, value=value)])
    assert read_records(tmp_path / "r.csv")["value"].tolist() == [float(value)]


def test_columns_and_their_types(tmp_path: Path) -> None:
    for records in ([], AWKWARD):
        write_records(tmp_path / "r.csv", records)
        frame = read_records(tmp_path / "r.csv")
        assert list(frame) == [
            *("testbed", "config", "method", "subject", "quantity"),
            *("value", "n", "spread", "seed", "commit"),
        ]
        numbers = frame.dtypes[["value", "n", "spread", "seed"]].astype(str)
        assert list(numbers) == ["float64", "Int64", "float64", "int64"]
        assert len(frame) == len(records)


def test_bytes_are_the_documented_ones_in_any_order(tmp_path: Path) -> None:
    second = replace(AUC, method="sac", subject="pruned", n=None, spread=None, value=0.5)
    texts = []
    for records in ([AUC, second], [second, AUC]):
        write_records(tmp_path / "r.csv", iter(records))
        texts.append((tmp_path / "r.csv").read_bytes().decode())
    assert texts[0] == texts[1]
    assert texts[0] == (
        "testbed,config,method,subject,quantity,value,n,spread,seed,commit\n"
        'intellectual_property_protection,small-0012e5,modelgif,"pruned, 30 %",auc,'
        "0.30000000000000004,40,0.3333333333333333,0,1234567\n"
        "intellectual_property_protection,small-0012e5,sac,pruned,auc,0.5,,,0,1234567\n"
    )


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("field", ["value", "spread"])
def test_numbers_that_are_not_finite_are_refused(field: str, number: float) -> None:
    with pytest.raises(ValueError, match=rf"`{field}` must be finite, got {number} .*/pruned, 30"):
        replace(AUC, **{field: number})


def test_repeated_records_are_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_records(tmp_path / "r.csv", [AUC])
    with pytest.raises(ValueError, match=r"differ in testbed.*modelgif/pruned.* appears twice"):
        write_records(tmp_path / "r.csv", [AUC, replace(AUC, value=0.7)])
    assert read_records(tmp_path / "r.csv")["value"].tolist() == [AUC.value]


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    write_records(path, [AUC])
    header, row = path.read_text().split("\n", 1)
    (tmp_path / "r.csv.sha256").unlink()
    path.write_text(f"{header.replace('spread', 'spred').replace('seed', 'method')}\n{row}")
    with pytest.raises(ValueError, match=r"r\.csv must have the columns testbed") as caught:
        read_records(path)
    for fault in (
        *("`spread` is missing", "`seed` is missing"),
        *("`spred` is unknown (near `spread`)", "`method` is repeated"),
    ):
        assert fault in str(caught.value)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("")
    with pytest.raises(ValueError, match="`testbed` is missing"):
        read_records(tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",0.5,", ",half,", "line 2: could not convert string to float: 'half'"),
        (",0.5,", ",nan,", "line 2: `value` must be finite, got nan"),
        (",0.5,", ",,", "line 2: could not convert string to float"),
        (",40,", ",4.5,", "line 2: invalid literal for int"),
        (",1234567\n", "\n", "line 2: expected 10 cells, got 9"),
    ],
)
def test_a_cell_that_does_not_fit_is_named_by_its_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "r.csv"
    write_records(path, [replace(AUC, value=0.5)])
    (tmp_path / "r.csv.sha256").unlink()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_records(path)


def test_a_changed_number_is_seen_by_the_seal(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    write_records(path, [replace(AUC, value=0.5)])
    seal = tmp_path / "r.csv.sha256"
    assert subprocess.run(["sha256sum", "-c", seal.name], cwd=tmp_path).returncode == 0
    path.write_text(path.read_text().replace(",0.5,", ",0.9,"))
    with pytest.raises(SealError, match=r"r\.csv is damaged.* r\.csv\.sha256\. Make it again"):
        read_records(path)
    seal.unlink()
    assert read_records(path)["value"].tolist() == [0.9]


def test_a_seal_never_stands_beside_another_file(tmp_path: Path, monkeypatch) -> None:
    write_records(tmp_path / "r.csv", [AUC])
    monkeypatch.setattr(sealed_csv, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_records(tmp_path / "r.csv", [replace(AUC, value=0.7)])
    assert read_records(tmp_path / "r.csv")["value"].tolist() == [0.7]


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"testbed,\xff", "r.csv is not UTF-8"),
        (b'"testbed', "r.csv, line 1: unexpected end of data"),
        (b"x" * 200_000, "r.csv, line 1: field larger than field limit"),
    ],
)
def test_what_is_no_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "r.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path / "r.csv")
