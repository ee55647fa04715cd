"""The website: every page is on it, no link is broken, and links lead where they led."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from docs.site_hooks import PAGES, on_page_markdown, reference

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_every_page_is_on_the_site(site):
    pages = [page.stem for page in (ROOT / "docs").glob("*.md")]
    pages += [place.removesuffix(".md") for place in PAGES if place != "index.md"]
    for page in pages:
        assert (site / page / "index.html").is_file(), page
    assert (site / "assets" / "demo_distances.png").is_file()
    assert not list(site.rglob("*.py"))


@pytest.mark.slow
def test_public_functions_are_in_the_reference(site):
    text = (site / "reference" / "modelgif" / "index.html").read_text(encoding="utf-8")
    assert 'id="modelgif.fields.gradient_field.gradient_field"' in text
    text = (site / "reference" / "methods" / "index.html").read_text(encoding="utf-8")
    assert 'id="modelgif.methods.sac.describe"' in text


@pytest.mark.slow
def test_a_block_with_the_name_of_a_file_is_code(site):
    text = (site / "add_a_testbed" / "index.html").read_text(encoding="utf-8")
    assert "```" not in re.sub(r"<[^>]+>", "", text)
    assert '<span class="filename">weight_noise/evaluate.py</span>' in text


def rewritten(markdown, place, repo_url=None):
    uris = ["index.md", "walk.md", "testbeds/model_selection.md", "assets/demo_distances.png"]
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place))
    return on_page_markdown(
        markdown, page, SimpleNamespace(repo_url=repo_url), SimpleNamespace(src_uris=uris)
    )


@pytest.mark.parametrize(
    ("place", "link", "expected"),
    [
        ("index.md", "[a](docs/walk.md#x)", "[a](walk.md#x)"),
        ("index.md", "![a](assets/demo_distances.png)", "![a](assets/demo_distances.png)"),
        ("walk.md", "[a](../model_selection/README.md)", "[a](testbeds/model_selection.md)"),
        ("testbeds/model_selection.md", "[a](../docs/walk.md)", "[a](../walk.md)"),
        ("testbeds/model_selection.md", "[a](../README.md)", "[a](../index.md)"),
        ("walk.md", "[a](#here) [b](https://x.org/y)", "[a](#here) [b](https://x.org/y)"),
        ("walk.md", "see [the tests](../tests/test_walk.py).", "see the tests."),
        # What is not there stays, and the strict build refuses it.
        ("walk.md", "[a](nowhere.md)", "[a](nowhere.md)"),
        ("index.md", "[a](tests/nowhere.py)", "[a](tests/nowhere.py)"),
    ],
)
def test_links_lead_to_the_same_page(place, link, expected):
    assert rewritten(link, place) == expected


def test_links_to_other_files_lead_to_the_code_host_if_there_is_one():
    text = rewritten("[a](../tests/test_walk.py) [b](../examples)", "walk.md", "https://h.org/r/")
    assert text == (
        "[a](https://h.org/r/blob/main/tests/test_walk.py) [b](https://h.org/r/tree/main/examples)"
    )


def test_the_reference_shows_the_functions_of_a_module_without_a_list():
    names = re.findall(r"^::: modelgif\.ranking\.(\w+)$", reference("ranking"), re.MULTILINE)
    assert {"auc", "spearman", "weighted_kendall"} <= set(names)
