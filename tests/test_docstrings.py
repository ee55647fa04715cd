"""The public surface: every name is there, none hides a module, and every example runs."""

import ast
import doctest
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

import modelgif as gif

ROOT = Path(__file__).parents[1]
MODULES = sorted(module.name for module in pkgutil.walk_packages(gif.__path__, prefix="modelgif."))
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
# Examples may show these, which are not the subject.
NAMES = {"torch": torch, "gif": gif}


@pytest.mark.parametrize("name", gif.__all__)
def test_every_public_name_is_there(name):
    assert getattr(gif, name) is getattr(gif, name)
    assert name in dir(gif)


def test_what_is_imported_late_is_what_type_checkers_see():
    tree = ast.parse((ROOT / "modelgif" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(seen) == sorted(gif.__all__)
    for name, module in seen.items():
        home = getattr(importlib.import_module(module), name, None)
        home = importlib.import_module(f"{module}.{name}") if home is None else home
        assert getattr(gif, name) is home


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'modelgif' has no attribute 'gradient_fields'"):
        _ = gif.gradient_fields


def test_importing_the_package_imports_neither_torch_nor_pandas():
    code = "import json, sys, modelgif; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "numpy", "pandas"} & set(json.loads(done.stdout))


@pytest.mark.parametrize("name", MODULES)
def test_no_name_hides_a_module(name):
    importlib.import_module(name)
    package, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(package), attribute)
    assert isinstance(found, types.ModuleType), f"{package} binds {attribute} to a {type(found)}"
    assert found.__name__ == name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_what_is_there(page):
    text = page.read_text(encoding="utf-8")
    for dotted in re.findall(r"\b(?:gif|modelgif)((?:\.[A-Za-z_]\w*)+)", text):
        words = dotted.strip(".").split(".")
        if "safetensors" in words or words[0] in ("com", "readthedocs"):
            continue
        found, module = gif, "modelgif"
        for word in words:
            module = f"{module}.{word}"
            found = importlib.import_module(module) if module in MODULES else getattr(found, word)


@pytest.mark.parametrize("name", ["modelgif", *MODULES])
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    for test in finder.find(module, name, module, extraglobs=NAMES):
        said: list[str] = []
        with torch.random.fork_rng(devices=[]):
            failed = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append).failed
        assert not failed, "".join(said)


@pytest.mark.parametrize(
    "name", [name for name in gif.__all__ if inspect.isfunction(getattr(gif, name))]
)
def test_every_public_function_has_an_example(name):
    assert ">>> " in (inspect.getdoc(getattr(gif, name)) or "")
