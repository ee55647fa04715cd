"""The wheel: what is in it, and that the command works where nothing but the wheel is installed."""

import email
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from itertools import chain
from pathlib import Path

import click
import pytest
import torch

from modelgif.references.file import write_references
from modelgif.references.references import References

ROOT = Path(__file__).parents[1]
EXTRAS = {
    *("images", "report", "experiments", "timm", "hf", "ray", "index", "rooms", "docs", "test"),
}
# What the extras bring, and what must not be needed without them.
NOT_THERE = (
    *("PIL", "sklearn", "torchvision", "jinja2", "matplotlib", "pandas", "xlsxwriter"),
    *("pydantic", "yaml", "skimage", "timm", "transformers", "faiss", "ray", "mitsuba"),
)
NETWORK = "python:modelgif.experiment.networks:convnet?in_channels=1&num_classes=10&seed={}"
# A finder, so that their traces in the environment of the tests cannot be imported.
WITHOUT_EXTRAS = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {NOT_THERE!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy, since building leaves files behind."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    unwanted = shutil.ignore_patterns("__pycache__")
    for package in ("modelgif", "intellectual_property_protection"):
        shutil.copytree(ROOT / package, source / package, ignore=unwanted)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-W", "ignore", "-c", build, str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (file,) = folder.glob("modelgif-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment with the wheel; its other libraries are those of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    if importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        command += ["--no-index", "--no-compile"]
    else:  # made by uv, as environment.sh prefers
        command = ["uv", "pip", "install", "--quiet", "--python", str(python), "--offline"]
    subprocess.run([*command, "--no-deps", str(wheel)], check=True, capture_output=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # Path files in a folder that a path file names are not read: the editable copy stays unseen.
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\nimport without_extras\n")
    (site / "without_extras.py").write_text(WITHOUT_EXTRAS)
    return folder


def ran(installed, *command, status=0):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [installed / "bin" / command[0], *command[1:]],
        cwd=installed,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_library_whole_and_no_testbed(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"modelgif"}
    expected = {str(file.relative_to(ROOT)) for file in (ROOT / "modelgif").rglob("*.py")}
    assert expected <= names
    assert {"modelgif/py.typed", "modelgif/reporting/templates/report.html"} <= names


@pytest.mark.slow
def test_the_wheel_says_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as content:
        (metadata,) = (name for name in content.namelist() if name.endswith("/METADATA"))
        found = email.message_from_string(content.read(metadata).decode())
    assert set(found.get_all("Provides-Extra")) >= EXTRAS
    assert found["License-Expression"] == "MIT"
    assert found["Requires-Python"] == ">=3.11"


def test_requirements_hold_an_exact_version_of_everything_named():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = chain(project["dependencies"], *project["optional-dependencies"].values())
    wanted = {_name(text) for text in named} - {"modelgif"}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {_name(line) for line in lines if "==" in line}
    assert wanted - pinned == set()


def stated_versions():
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = [text.rpartition(" :: ")[2] for text in classifiers if ":: Python ::" in text]
    assert versions
    return versions


def test_the_stated_versions_of_python_are_those_of_the_first_page_and_the_workflow():
    stated = stated_versions()
    *others, last = stated
    assert f"Python {', '.join(others)} or {last}" in (ROOT / "README.md").read_text()
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "python: [" + ", ".join(f'"{version}"' for version in stated) + "]" in workflow


# What other interpreters can do without torch: compile every file, and print the help.
OTHER_PYTHON = """
import sys
from pathlib import Path

assert sys.version_info[:2] == tuple(map(int, sys.argv[1].split(".")))
for file in Path(sys.argv[2]).rglob("*.py"):
    compile(file.read_text(encoding="utf-8"), str(file), "exec")
sys.path[:0] = [str(Path(sys.argv[2]).parent), sys.argv[3]]
from modelgif.cli.main import main
main(["verdict", "--help"])
"""


def interpreter(version):
    """An interpreter of this version: on the path, or one of pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}"), *root.glob(f"versions/{version}.*/bin/python")]
    for python in filter(None, found):
        if subprocess.run([python, "-V"], capture_output=True).returncode == 0:
            return python
    return None


@pytest.mark.parametrize("version", stated_versions())
def test_every_stated_python_compiles_the_sources_and_prints_help(version, tmp_path):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    (tmp_path / "click").symlink_to(Path(click.__file__).parent)
    command = [python, "-I", "-B", "-W", "error", "-c", OTHER_PYTHON, version]
    done = subprocess.run(
        [*command, str(ROOT / "modelgif"), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "--independent" in done.stdout


def _name(requirement):
    for mark in "[<>=!~ ":
        requirement = requirement.partition(mark)[0]
    return requirement.lower().replace("_", "-")


@pytest.mark.slow
def test_the_installed_command_compares_two_models(installed):
    where = "import importlib.util as u; print(u.find_spec('modelgif').origin)"
    assert ran(installed, "python", "-c", where).startswith(str(installed))
    assert "verdict" in ran(installed, "modelgif", "--help")
    models = [NETWORK.format(seed) for seed in (1, 2)]
    write_references(
        installed / "references.safetensors", References(torch.rand(2, 1, 8, 8), ("a", "b"))
    )
    few = ["--references", "references.safetensors", "--steps", "2"]
    compared = json.loads(ran(installed, "modelgif", "compare", *models, *few, "--json"))
    assert 0 < compared["distance"] < 2
    assert "| 1-modelgif" in ran(installed, "modelgif", "distance", *models, *few)
    many = [NETWORK.format(seed) for seed in range(3, 6)]
    verdict = ["verdict", "--victim", models[0], "--suspect", models[1], "--independent", *many]
    assert "| undecided |" in ran(installed, "modelgif", *verdict, *few, status=4)
    assert "| True |" in ran(installed, "modelgif", "extract", *models, *few, "-o", "fields")
    ran(installed, "modelgif", "index", "add", "known", *models, *few)
    assert "| distance |" in ran(installed, "modelgif", "index", "search", "known", many[0], *few)
    store = "fields/1-modelgif.experiment.networks-convnet.h5"
    assert "a field store" in ran(installed, "modelgif", "info", store)


@pytest.mark.slow
def test_the_library_shows_distances_without_extras(installed):
    code = "import modelgif as gif, torch; print(gif.DistanceMatrix(('a', 'b'), torch.eye(2)))"
    assert ran(installed, "python", "-c", code).splitlines()[1:] == [
        "      a     b",
        "a 1.000 0.000",
        "b 0.000 1.000",
    ]


@pytest.mark.slow
def test_every_verb_is_there_without_extras(installed):
    code = "from modelgif.cli.main import main, _VERBS; [main.get_command(None, v) for v in _VERBS]"
    ran(installed, "python", "-c", code)
