import re
from pathlib import Path
from zipfile import ZipFile

import openpyxl
import pandas as pd
import pytest

from modelgif.experiment.record import Record, read_records, write_records
from modelgif.reporting.table import replace_section, to_markdown, write_workbook

FRAME = pd.DataFrame(
    {
        "method": ["modelgif", "a|b", "=1+1"],
        "auc": [0.98765432, float("nan"), -0.00001],
        "n": pd.array([40, None, 3], dtype="Int64"),
        "holds": [True, False, True],
    }
)


def test_a_sheet_reads_back_as_the_csv_it_came_from(tmp_path: Path) -> None:
    records = [
        Record("ipp", "small-0012", method, "all", "auc", value, n, spread, 0, "1e5")
        for method, value, n, spread in [
            ("modelgif", 0.125, 40, 1 / 3),
            ("sac", 2 / 3, None, None),
            ("http://zest", 1e-300, 7, 0.0),
        ]
    ]
    write_records(tmp_path / "records.csv", records)
    frame = read_records(tmp_path / "records.csv")
    write_workbook(tmp_path / "results.xlsx", {"records": frame})
    sheet = pd.read_excel(tmp_path / "results.xlsx", dtype={"commit": "str", "n": "Int64"})
    # A spreadsheet keeps 16 significant digits.
    pd.testing.assert_frame_equal(sheet, frame, check_exact=False, rtol=1e-15, atol=0)


def test_cells_hold_numbers_texts_and_blanks(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", {"one": FRAME, "two": FRAME.filter(["n"])})
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    assert book.sheetnames == ["one", "two"]
    sheet = book["one"]
    assert [[cell.value for cell in row] for row in sheet.iter_rows()] == [
        ["method", "auc", "n", "holds"],
        ["modelgif", 0.98765432, 40, True],
        ["a|b", None, None, False],
        ["=1+1", -0.00001, 3, True],
    ]
    assert sheet["A4"].data_type == "s"
    assert sheet["B2"].number_format == "0.0000"
    assert sheet["C2"].number_format == "General"
    assert [cell.font.b for cell in sheet[1]] == [True] * 4
    assert sheet.freeze_panes == "A2"
    # Two more than the widest texts shown, "modelgif" and "0.9877".
    assert sheet.column_dimensions["A"].width == pytest.approx(10, abs=1)
    assert sheet.column_dimensions["B"].width == pytest.approx(8, abs=1)


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    write_workbook(tmp_path / "a.xlsx", {"one": FRAME})
    write_workbook(tmp_path / "b.xlsx", {"one": FRAME.copy()})
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    # No clock time is in them either.
    with ZipFile(tmp_path / "a.xlsx") as parts:
        assert {part.date_time for part in parts.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        times = re.findall(r">([0-9-]+T[0-9:]+Z)<", parts.read("docProps/core.xml").decode())
    assert set(times) == {"2000-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("intellectual_property_protection", "1 to 31 characters, got 32 in 'intellectual"),
        ("", "1 to 31 characters, got 0"),
        ("a/b?", r"none of .*, got / \? in 'a/b\?'; rename it"),
    ],
)
def test_sheet_names_excel_refuses_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_workbook(tmp_path / "t.xlsx", {name: FRAME})
    assert not list(tmp_path.iterdir())


def test_a_sheet_name_of_31_characters_is_written(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", {"x" * 31: FRAME})
    assert openpyxl.load_workbook(tmp_path / "t.xlsx").sheetnames == ["x" * 31]


def test_a_workbook_without_sheets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one sheet"):
        write_workbook(tmp_path / "t.xlsx", {})


def test_an_index_that_holds_data_is_refused(tmp_path: Path) -> None:
    pivot = FRAME.pivot_table(index="method", values="auc")
    with pytest.raises(ValueError, match=r"sheet 'one' .* index named method; call reset_index"):
        write_workbook(tmp_path / "t.xlsx", {"one": pivot})
    with pytest.raises(ValueError, match="index named method"):
        to_markdown(pivot)
    assert to_markdown(pivot.reset_index()).startswith("| method | auc |\n")


def test_markdown_is_the_table_written_by_hand() -> None:
    assert to_markdown(FRAME, digits=3) == (
        "| method | auc | n | holds |\n"
        "| --- | ---: | ---: | --- |\n"
        "| modelgif | 0.988 | 40 | True |\n"
        "| a\\|b |  |  | False |\n"
        "| =1+1 | 0.000 | 3 | True |\n"
    )
    assert "| 0.9877 |" in to_markdown(FRAME)


def test_markdown_escapes_what_would_end_a_cell() -> None:
    frame = pd.DataFrame({"a|b": ["back\\|slash", "two\nlines"]})
    assert to_markdown(frame) == "| a\\|b |\n| --- |\n| back\\\\\\|slash |\n| two<br>lines |\n"


def test_a_section_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(
        "# Title\n<!-- begin auc -->old\n| old |<!-- end auc -->\ntail\n"
        "<!-- begin other -->kept<!-- end other -->\n"
    )
    for _ in range(2):
        replace_section(page, "auc", to_markdown(FRAME.filter(["n"])))
        assert page.read_text() == (
            "# Title\n<!-- begin auc -->\n\n| n |\n| ---: |\n| 40 |\n|  |\n| 3 |\n\n"
            "<!-- end auc -->\ntail\n<!-- begin other -->kept<!-- end other -->\n"
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text", r"marker <!-- begin auc --> exactly once, found 0; its sections are: none"),
        ("<!-- begin acu --><!-- end acu -->", "found 0; its sections are: acu"),
        ("<!-- begin auc -->", "<!-- end auc --> exactly once, found 0; its sections are: auc"),
        ("<!-- begin auc -->" * 2 + "<!-- end auc -->", "begin auc --> exactly once, found 2"),
        ("<!-- end auc --><!-- begin auc -->", "found them the other way round"),
    ],
)
def test_wrong_markers_are_refused_and_the_file_stays(
    tmp_path: Path, content: str, message: str
) -> None:
    page = tmp_path / "README.md"
    page.write_text(content)
    with pytest.raises(ValueError, match=message):
        replace_section(page, "auc", "new")
    assert page.read_text() == content
