"""Imports point one way, and importing does nothing else."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    0: (
        *("quadrature", "target", "reference", "reference_ranking", "distance", "ranking"),
        *("files", "output", "cells", "pair_sums", "random_projection", "cosine_estimate"),
    ),
    1: (
        *("field", "field_header", "field_writer", "store", "address", "loading", "checkpoint"),
        *("reference_file", "features", "adversarial", "sealed", "plain_pickle", "pickled_weights"),
        *("safetensors_file", "field_layout", "skeleton", "card", "steady_file"),
        *("preprocessing", "state_dict", "libraries", "python_function", "trust", "precision"),
        *("hugging_face", "image_processor", "torch_hub", "exported"),
        *("micro_batch", "fast_layout", "folding", "acceleration", "background"),
    ),
    2: (
        *("extract", "verdict", "methods", "transferability"),
        *("describer", "stream", "stream_checkpoint", "pieces"),
        *("sketch", "sketcher", "sketch_file", "index", "nearby"),
    ),
    3: ("", "experiment", "cli", "distance_matrix"),
}
TESTBEDS = (
    "task_relatedness",
    "intellectual_property_protection",
    "model_unlearning",
    "model_selection",
)
# What the package needs to describe and compare models; experiments may use anything.
ARITHMETIC = {"torch", "numpy", "scipy"}
MODELS = ARITHMETIC | {"h5py", "safetensors", "tqdm", "torchvision", "timm"}
THIRD_PARTY = {0: ARITHMETIC, 1: MODELS, 2: MODELS | {"sklearn", "skimage"}}


def project_files() -> dict[str, Path]:
    """The project's modules by dotted name; a package goes by its folder's."""
    folders = [
        folder
        for folder in ROOT.iterdir()
        if not folder.name.startswith(".")
        and folder.name not in ("tests", "benchmarks", "docs", "examples")
        and any(folder.glob("*.py"))
    ]
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in files
    }


FILES = project_files()


def layer(module: str) -> int:
    package, _, rest = module.partition(".")
    if package in TESTBEDS:
        return 4
    first = rest.partition(".")[0]
    for number, names in LAYERS.items():
        if package == "modelgif" and first in names:
            return number
    raise LookupError(f"{module} has no layer: give it one in tests/test_layers.py")


def imports(module: str, source: str, known: set[str]) -> Iterator[str]:
    """The modules that `source` imports anywhere, as dotted names."""
    package = (
        module if FILES.get(module, Path()).name == "__init__.py" else module.rpartition(".")[0]
    )
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *filter(None, [base])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in known else base


def violations(module: str, source: str) -> list[str]:
    own, found = layer(module), []
    for name in imports(module, source, set(FILES)):
        top = name.partition(".")[0]
        if top == "modelgif" or top in TESTBEDS:
            beside = own == 4 and top in TESTBEDS and top != module.partition(".")[0]
            if layer(name) > own or beside:
                found.append(f"{module} (layer {own}) imports {name} (layer {layer(name)})")
        elif top not in sys.stdlib_module_names and top not in THIRD_PARTY.get(own, {top}):
            found.append(f"{module} (layer {own}) imports {name}, which its layer does without")
    return found


@pytest.mark.parametrize("module", FILES)
def test_every_module_keeps_to_its_layer(module: str) -> None:
    assert violations(module, FILES[module].read_text(encoding="utf-8")) == []


def test_the_modules_are_found() -> None:
    assert {"modelgif", "modelgif.field", "modelgif.methods.label_agreement"} <= set(FILES)
    assert "intellectual_property_protection.zoo" in FILES


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("modelgif.distance", "import modelgif.store", ["modelgif.store (layer 1)"]),
        ("modelgif.distance", "from modelgif import store", ["modelgif.store (layer 1)"]),
        (
            "modelgif.distance",
            "from modelgif.store import FieldStore",
            ["modelgif.store (layer 1)"],
        ),
        ("modelgif.distance", "from .store import FieldStore", ["modelgif.store (layer 1)"]),
        ("modelgif.distance", "from modelgif import gradient_field", ["modelgif (layer 3)"]),
        ("modelgif.distance", "import h5py", ["h5py, which its layer does without"]),
        ("modelgif.distance", "def f():\n    import pandas.io", ["pandas.io, which"]),
        ("modelgif.distance", "import math, torch.nn\nfrom modelgif.target import Target", []),
        ("modelgif.field", "import modelgif.extract", ["modelgif.extract (layer 2)"]),
        ("modelgif.methods.sac", "from ..experiment import run", ["experiment.run (layer 3)"]),
        ("modelgif.methods.sac", "from modelgif.field import Model", []),
        ("modelgif.extract", "import matplotlib.pyplot", ["matplotlib.pyplot, which"]),
        (
            "modelgif.experiment.run",
            "import model_selection.zoo",
            ["model_selection.zoo (layer 4)"],
        ),
        ("modelgif.cli", "import pandas, modelgif", []),
        ("model_unlearning.train", "from model_selection.zoo import x", ["model_selection.zoo"]),
        ("model_unlearning.train", "from model_unlearning.zoo import x\nimport modelgif", []),
    ],
)
def test_the_rule_catches_made_up_violations(module: str, source: str, found: list[str]) -> None:
    caught = violations(module, source)
    assert len(caught) == len(found)
    assert all(expected in text for expected, text in zip(found, caught, strict=True))


def test_a_module_without_a_layer_is_noticed() -> None:
    for module in ("modelgif.helpers", "a_fifth_testbed.zoo"):
        with pytest.raises(LookupError, match=f"{module} has no layer"):
            violations(module, "")


IMPORT_ALL = """
import importlib, json, os, random, sys, warnings
import numpy, torch

def state():
    return {
        "random numbers of torch": torch.get_rng_state().tolist(),
        "random numbers of numpy": repr(numpy.random.get_state()),
        "random numbers of Python": random.getstate(),
        "default dtype": torch.get_default_dtype(),
        "gradient mode": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "CUDA": torch.cuda.is_initialized(),
        "environment": dict(os.environ),
        "arguments": list(sys.argv),
        "folder": os.getcwd(),
        "module path": list(sys.path),
    }

others, modules = json.loads(sys.stdin.read())
for name in others:
    importlib.import_module(name)
before = state()
for name in modules:
    importlib.import_module(name)
    after = state()
    changed = [what for what in before if before[what] != after[what]]
    if changed:
        print(f"importing {name} changes:", *changed)
        before = after
"""


def test_importing_every_module_changes_nothing(tmp_path: Path) -> None:
    # Other libraries may change the environment when imported: scikit-learn does.
    others = {
        name
        for module, file in FILES.items()
        for statement in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name in imports(module, ast.unparse(statement), set())
        if name.partition(".")[0] not in {"modelgif", *TESTBEDS}
    }
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, "--an-argument-of-the-caller"],
        input=json.dumps([sorted(others), sorted(FILES)]),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []
