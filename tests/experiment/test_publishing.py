from pathlib import Path

import pytest

from modelgif.experiment.publishing import fill_page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text("# Page\n\n<!-- begin one -->\nold\n<!-- end one -->\n\nend\n")
    return path


def test_a_page_is_filled(page: Path) -> None:
    fill_page(page, {"one": "new"})
    assert page.read_text() == ("# Page\n\n<!-- begin one -->\n\nnew\n\n<!-- end one -->\n\nend\n")


def test_a_missing_section_is_an_error_unless_a_page_may_have_a_part(page: Path) -> None:
    with pytest.raises(ValueError, match="must hold the marker <!-- begin two --> exactly once"):
        fill_page(page, {"two": "new"})
    fill_page(page, {"one": "new", "two": "new"}, partly=True)
    assert "old" not in page.read_text()
    with pytest.raises(ValueError, match="has no section for two, three"):
        fill_page(page, {"two": "new", "three": "new"}, partly=True)
