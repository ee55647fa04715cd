"""The README's code runs, and the files it names are there."""

import pkgutil
import re
from graphlib import CycleError
from pathlib import Path

import pytest
import torch

from docs.count_rooms import arrows, floors

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])


def test_the_library_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(code, "README.md", "exec"), {})
    one, title, heads, *rows = capsys.readouterr().out.strip().split("\n")
    assert title == "Distances of 2 models"
    assert heads.split() == ["mine", "theirs"]
    assert 0 < float(one) < 2
    assert [float(row.split()[1 + other]) for row, other in zip(rows, (1, 0), strict=True)] == (
        pytest.approx([float(one)] * 2, abs=6e-4)
    )


def test_the_architecture_page_shows_every_package():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("| "))
    missing = [room for room in arrows(ROOT) if f"`{room}`" not in table]
    assert not missing


def test_rooms_floors_and_arrows_are_counted(tmp_path):
    library = tmp_path / "modelgif"
    (library / "top").mkdir(parents=True)
    (library / "__init__.py").write_text("from modelgif.middle import a\n")
    (library / "ground.py").write_text("import torch\n")
    (library / "middle.py").write_text("def f():\n    import modelgif.ground\n")
    (library / "top" / "__init__.py").write_text("")
    (library / "top" / "a.py").write_text(
        "from modelgif import ground, middle\nimport modelgif.top.b\n"
    )
    below = arrows(tmp_path)
    assert below["top"] == {"ground", "middle"}
    assert floors(below) == {"ground": 0, "middle": 1, "modelgif": 2, "top": 2}
    (library / "ground.py").write_text("from modelgif.top.a import x\n")
    with pytest.raises(CycleError):
        floors(arrows(tmp_path))


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 140


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_a_page_links_to_is_there(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^(<{7}|={7}|>{7})", text, re.MULTILINE), "an unresolved merge"
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_new_names_of_the_changelog_are_there():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .*? \| (.*) \|$", text, re.MULTILINE)
    tops = "modelgif|intellectual_property_protection|model_\\w+|task_relatedness"
    names = [name for row in rows for name in re.findall(rf"`((?:{tops})\.[\w.]+)`", row)]
    assert len(names) > 100
    missing = [name for name in names if not is_there(name)]
    assert not missing


def is_there(dotted):
    """Whether a module, or a name in one, or an attribute of a class in one is there."""
    path = ROOT / dotted.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    owner, _, name = dotted.rpartition(".")
    if not owner or not is_there(owner):
        return False
    home = pkgutil.resolve_name(owner)
    return hasattr(home, name) or name in getattr(home, "__annotations__", {})
