"""The contract of a testbed: what each one has, whatever its question is."""

import importlib
import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.zoo import roster as protection_zoo
from model_selection.config import ModelSelectionConfig
from model_selection.zoo import roster as selection_zoo
from model_unlearning.config import UnlearningConfig
from model_unlearning.zoo import roster as unlearning_zoo
from modelgif.experiment.config import Config, load_config
from modelgif.experiment.run import open_run
from task_relatedness.config import TaskRelatednessConfig

ROOT = Path(__file__).parents[1]


class Testbed(NamedTuple):
    """A testbed: its configuration, and the names of the models that one describes."""

    config: type[Config]
    models: Callable[[Any], list[str]]

    __test__ = False


def _names(roster: Callable[[Any], list[Any]]) -> Callable[[Any], list[str]]:
    return lambda config: [member.name for member in roster(config)]


TESTBEDS = {
    "intellectual_property_protection": Testbed(IPPConfig, _names(protection_zoo)),
    "model_selection": Testbed(ModelSelectionConfig, _names(selection_zoo)),
    "model_unlearning": Testbed(UnlearningConfig, _names(unlearning_zoo)),
    "task_relatedness": Testbed(TaskRelatednessConfig, lambda config: list(config.tasks)),
}


def stages(testbed: str) -> list[str]:
    """The stages that a testbed's ``run.sh`` runs, in order."""
    script = (ROOT / testbed / "run.sh").read_text(encoding="utf-8")
    (names,) = re.findall(r"^for stage in (.+); do$", script, re.MULTILINE)
    return names.split()


each = pytest.mark.parametrize("testbed", TESTBEDS)
CONFIGS = sorted(path for name in TESTBEDS for path in ROOT.glob(f"{name}/configs/*.yaml"))
each_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT)))
RUNS = sorted(path for name in TESTBEDS for path in ROOT.glob(f"{name}/results/**/run.json"))
STAGES = [(name, stage) for name in TESTBEDS for stage in (*stages(name), "publish")]
each_stage = pytest.mark.parametrize(("testbed", "stage"), STAGES)


def of(path: Path) -> str:
    """The testbed that a file belongs to."""
    return path.relative_to(ROOT).parts[0]


def test_every_testbed_is_held_to_the_contract() -> None:
    assert {path.parent.name for path in ROOT.glob("*/run.sh")} == set(TESTBEDS)


@each
def test_a_testbed_has_what_one_runs_and_edits(testbed: str) -> None:
    home = ROOT / testbed
    assert (home / "README.md").read_text(encoding="utf-8").startswith("# ")
    assert {"smoke", "small", "paper"} <= {
        path.stem.partition("_")[0] for path in (home / "configs").glob("*.yaml")
    }
    for name in ("__init__", "config", "zoo", "train", "evaluate", "plot", "publish"):
        assert (home / f"{name}.py").is_file()
    assert {"train", "evaluate", "plot"} <= set(stages(testbed))
    assert "set -euo pipefail" in (home / "run.sh").read_text(encoding="utf-8")


@each_config
def test_a_configuration_says_what_it_is_for_and_how_to_run_it(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert f"# Run: bash {of(path)}/run.sh {path.relative_to(ROOT)}" in lines


@each_config
def test_a_shipped_configuration_loads_and_names_each_model_once(path: Path) -> None:
    config_class, models = TESTBEDS[of(path)]
    config = load_config(config_class, path)
    names = models(config)
    assert names
    assert len(set(names)) == len(names)


@each
def test_a_configuration_is_frozen(testbed: str) -> None:
    config = load_config(TESTBEDS[testbed].config, ROOT / testbed / "configs" / "smoke.yaml")
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_published_results_are_those_of_a_configuration_that_still_has_its_digest(
    path: Path, tmp_path: Path
) -> None:
    known = json.loads(path.read_text(encoding="utf-8"))
    config = load_config(TESTBEDS[of(path)].config, path.with_name("config.yaml"))
    name = known["config"].rpartition("-")[0]
    assert open_run(config, testbed=of(path), name=name, root=tmp_path).label == known["config"]
    assert known["testbed"] == of(path)
    assert path.with_name("records.csv").is_file()


def test_every_testbed_has_published_results() -> None:
    assert {of(path) for path in RUNS} == set(TESTBEDS)


def command(testbed: str, stage: str, *words: str) -> Callable[[], Any]:
    """Runs ``python -m TESTBED.STAGE WORDS`` in this process."""
    file = ROOT / testbed / f"{stage}.py"

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(file), *words])
            runpy.run_path(str(file), run_name="__main__")

    return run


@each_stage
def test_a_stage_is_a_function_of_its_module_with_the_common_command_line(
    testbed: str, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"{testbed}.{stage}")
    assert getattr(module, stage).__module__ == module.__name__
    with pytest.raises(SystemExit) as ended:
        command(testbed, stage, "--help")()
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(f"usage: python -m {testbed}.{stage} ")
    summary = (getattr(module, stage).__doc__ or "").split("\n")[0]
    assert summary
    assert " ".join(summary.split()) in shown
    for option in ("--runs", "--launcher", "--shard", "config", "overrides"):
        assert option in shown


@each_stage
def test_a_misspelt_key_ends_a_stage_before_it_does_anything(
    testbed: str,
    stage: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    smoke = str(ROOT / testbed / "configs" / "smoke.yaml")
    with pytest.raises(SystemExit) as ended:
        command(testbed, stage, smoke, "seeed=1", "--runs", str(tmp_path / "runs"))()
    assert ended.value.code == 2
    assert "did you mean seed" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
