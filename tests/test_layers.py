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
# Of `modelgif`, from the ground up: a package imports from lower floors and from itself.
FLOORS = (
    ("distances", "storage", "verdict", "transferability", "data", "ranking"),
    ("fields",),
    ("references",),
    ("loading",),
    ("zoo", "methods", "lineage"),
    ("sketches", "reporting", "trial"),
    ("experiment",),
    ("cli",),
)
TESTBEDS = (
    "intellectual_property_protection",
    "model_selection",
    "model_unlearning",
    "task_relatedness",
)
# What describing and comparing models needs; higher floors may use anything.
MATHEMATICS = {"torch", "numpy", "scipy", "sklearn"}
THIRD_PARTY = {
    "distances": MATHEMATICS,
    "verdict": MATHEMATICS,
    "transferability": MATHEMATICS,
    "ranking": MATHEMATICS,
    "storage": MATHEMATICS | {"h5py", "safetensors"},
    "data": MATHEMATICS | {"PIL", "skimage", "torchvision"},
    "fields": MATHEMATICS,
    "references": MATHEMATICS | {"safetensors"},
    "loading": MATHEMATICS | {"safetensors", "torchvision", "timm", "transformers"},
    "zoo": MATHEMATICS | {"tqdm"},
    "methods": MATHEMATICS | {"skimage"},
}


def project_files() -> dict[str, Path]:
    """The project's modules by dotted name; a package goes by its folder's."""
    files = sorted(file for top in ("modelgif", *TESTBEDS) for file in ROOT.glob(f"{top}/**/*.py"))
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in files
    }


FILES = project_files()


def room(module: str) -> str:
    """The package of `modelgif` that holds a module, or the testbed."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "modelgif" else top


def floor(module: str) -> int:
    if room(module) in TESTBEDS:
        return len(FLOORS) + 1
    if module == "modelgif":
        return len(FLOORS)
    for number, rooms in enumerate(FLOORS):
        if room(module) in rooms:
            return number
    raise LookupError(f"{module} has no floor: give its package one in tests/test_layers.py")


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
    """What a module imports and must not, a sentence each."""
    own, found = floor(module), []
    for name in imports(module, source, set(FILES)):
        top = name.partition(".")[0]
        if top == "modelgif" or top in TESTBEDS:
            if room(name) != room(module) and floor(name) >= own:
                found.append(f"{module} (floor {own}) imports {name} (floor {floor(name)})")
        elif top not in sys.stdlib_module_names and top not in THIRD_PARTY.get(room(module), {top}):
            found.append(f"{module} imports {name}, which {room(module)} does without")
    return found


@pytest.mark.slow
def test_every_module_keeps_to_its_floor() -> None:
    found = [v for m, file in FILES.items() for v in violations(m, file.read_text("utf-8"))]
    assert found == []


def test_the_modules_are_found() -> None:
    assert {"modelgif", "modelgif.fields.gradient_field", "modelgif.methods.sac"} <= set(FILES)
    assert {"intellectual_property_protection.zoo", "model_selection.zoo"} <= set(FILES)


DISTANCE = "modelgif.distances.distance"


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        (DISTANCE, "import modelgif.fields.target", ["modelgif.fields.target (floor 1)"]),
        (DISTANCE, "from modelgif.fields import target", ["modelgif.fields.target (floor 1)"]),
        (DISTANCE, "from modelgif.fields.target import Target", ["modelgif.fields.target (floor"]),
        (DISTANCE, "from ..fields.target import Target", ["modelgif.fields.target (floor 1)"]),
        (DISTANCE, "from .cells import check_finite", []),
        (DISTANCE, "from modelgif import gradient_field", ["modelgif (floor 8)"]),
        (DISTANCE, "from modelgif.storage.atomic import x", ["modelgif.storage.atomic (floor 0)"]),
        (DISTANCE, "import h5py", ["h5py, which distances does without"]),
        (DISTANCE, "def f():\n    import pandas.io", ["pandas.io, which"]),
        ("modelgif.fields.gradient_field", "import modelgif.zoo.extract", ["zoo.extract (floor"]),
        ("modelgif.methods.sac", "from ..experiment import run", ["experiment.run (floor 6)"]),
        ("modelgif.methods.sac", "from modelgif.fields.model import Model", []),
        ("modelgif.zoo.extract", "import matplotlib.pyplot", ["matplotlib.pyplot, which"]),
        ("modelgif.experiment.run", "import model_selection.zoo", ["model_selection.zoo (floor"]),
        ("modelgif.cli", "import pandas, modelgif.experiment.run", []),
        ("model_unlearning.train", "from model_selection.zoo import x", ["model_selection.zoo"]),
        ("model_unlearning.train", "from model_unlearning.zoo import x\nimport modelgif", []),
    ],
)
def test_the_rule_catches_made_up_violations(module: str, source: str, found: list[str]) -> None:
    caught = violations(module, source)
    assert len(caught) == len(found)
    assert all(expected in text for expected, text in zip(found, caught, strict=True))


def test_a_package_without_a_floor_is_noticed() -> None:
    for module in ("modelgif.helpers", "a_fifth_testbed.zoo"):
        with pytest.raises(LookupError, match=f"{module} has no floor"):
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


@pytest.mark.slow
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
