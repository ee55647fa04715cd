import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from modelgif.reporting.figure import distributions
from modelgif.reporting.report import Report, Section, write_report

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")


@pytest.fixture
def report():
    table = pd.DataFrame(
        {
            "suspect": ["<script>alert(1)</script>", "b"],
            "distance": [0.123456, np.nan],
            "n": [1, 2],
            "a long text": ["x" * 80, "y"],
        }
    )
    figure = distributions({"suspects": [0.1, 0.2], "independents": np.linspace(0.5, 1, 19)})
    return Report(
        question="Was <b>this</b> made from mine?",
        answer="Yes & no.",
        sections=[
            Section("Suspects", "A paragraph.", table=table, digits=2),
            Section("Distances", figure=figure, caption='nearer to the left, "mine" at 0'),
        ],
        conditions={"seed": 3, "torch": "2.15"},
        repeat="modelgif verdict --victim 'a b.safetensors'",
        notes=["Only 19 independents."],
    )


@pytest.fixture
def page(tmp_path, report):
    write_report(tmp_path / "report.html", report)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_everything_is_said_and_nothing_is_markup(page):
    assert "<h1>Was &lt;b&gt;this&lt;/b&gt; made from mine?</h1>" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for text in (
        "Yes &amp; no.",
        "Only 19 independents.",
        "A paragraph.",
        "2.15",
        "&#34;mine&#34;",
    ):
        assert text in page
    assert '<td class="number">0.12</td>' in page
    assert '<td class="number"></td>' in page  # the missing distance
    assert "modelgif verdict --victim &#39;a b.safetensors&#39;" in page


def test_the_page_asks_for_no_other_file(page):
    sources = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)|@import', page)
    assert [source[:22] for source, _ in sources] == ["data:image/png;base64,"]
    assert "default-src 'none'" in page


def test_the_same_report_gives_the_same_bytes(tmp_path, report, page):
    write_report(tmp_path / "again.html", report)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium-headless-shell")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_looks_right(tmp_path, page, width, dark):
    assert page
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu"),
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--screenshot={tmp_path / 'page.png'}",
        f"--window-size={width},1600",
        (tmp_path / "report.html").as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("L")).astype(int)
    assert pixels.shape[1] == width
    paper = pixels[0, 0]
    assert paper < 50 if dark else paper > 250
    # Nothing runs over the edge: a long table scrolls in its own box.
    assert (np.abs(pixels[:, -8:] - paper) < 3).all()
    # The picture is there, as bright as it was drawn, and there is text of the other shade.
    assert (pixels > 250).mean() > 0.05
    assert (np.abs(pixels - paper) > 150).sum() > 2000
