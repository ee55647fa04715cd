import fcntl
import importlib
import sys
from functools import partial

import pytest

from modelgif.experiment.claims import Claims, claims_in
from modelgif.experiment.config import Config
from modelgif.experiment.run import find_run, open_run, run_stage
from modelgif.experiment.status import stage_names, stages_of, status_text

STAGES = {
    "intellectual_property_protection": ["train", "extract_fields", "evaluate", "plot"],
    "model_selection": ["train", "finetune", "extract_features", "score", "evaluate", "plot"],
    "model_unlearning": ["train", "extract_fields", "evaluate", "plot"],
    "task_relatedness": ["train", "transfer", "extract_fields", "evaluate", "plot"],
}


class Tiny(Config):
    count: int = 8


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of a testbed with a stage that makes files, and one that says nothing of them."""
    package = tmp_path / "little_bed"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "make.py").write_text(
        '"""Stage 1: makes numbers."""\n'
        "def files(run): return [run.folder / f'{i}.txt' for i in range(run.config.count)]\n"
    )
    (package / "show.py").write_text('"""Stage 2: shows them."""\n')
    (package / "helper.py").write_text('"""Not a stage."""\nraise RuntimeError("imported")\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield find_run(Tiny(), testbed="little_bed", name="x", root=tmp_path / "runs")
    for name in [name for name in sys.modules if name.startswith("little_bed")]:
        del sys.modules[name]


def made(run):
    return open_run(run.config, testbed=run.testbed, name=run.name, root=run.folder.parents[1])


def test_a_run_that_does_not_exist_is_said_to_and_stays_so(run):
    assert status_text(run) == (
        f"{run.folder} (does not exist yet)\nmake: not begun; 0 of 8 files\nshow: not begun\n"
    )
    assert not run.folder.exists()


def test_what_is_done_and_missing_is_listed(run):
    made(run)
    for number in (0, 3):
        (run.folder / f"{number}.txt").touch()
    (run.folder / "4.txt.part").touch()
    assert status_text(run) == (
        f"{run.folder}\n"
        "make: not finished; 2 of 8 files\n"
        "    missing: 1.txt, 2.txt, 4.txt, 5.txt, 6.txt and 1 more\n"
        "show: not begun\n"
        "    being written, or left by a process that was killed: 4.txt.part\n"
    )
    for number in range(8):
        (run.folder / f"{number}.txt").touch()
    (run.folder / "4.txt.part").unlink()
    with run.stage("make"):
        pass
    _, make, show = status_text(run).splitlines()
    finished = run.conditions()["stages"]["make"]["finished"]
    assert make == f"make: done {finished}, 0 s; 8 of 8 files"
    assert show == "show: not begun"
    (run.folder / "5.txt").unlink()
    make, _ = stages_of(run)
    assert [path.name for path in make.missing] == ["5.txt"]
    assert "but files are missing; 7 of 8 files\n    missing: 5.txt\n" in status_text(run)


def stop_at(bad, item):
    if item == bad:
        raise RuntimeError("on purpose")


def test_what_workers_hold_is_listed(run):
    made(run)
    folder = run.folder / "claims" / "make"
    Claims(folder, (0, 2)).share(partial(stop_at, "b"), ["a", "b", "c d"])
    claims = {claim.label: claim for claim in claims_in(folder)}
    assert {label: (c.held, c.done) for label, c in claims.items()} == {
        "a": (False, True),
        "b": (False, False),
        "c-d": (False, True),
    }
    assert "    begun and not finished: b\n" in status_text(run)
    (path,) = folder.glob("b-*.claim")
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        text = status_text(run)
    assert "make: running, 1 held by workers; 0 of 8 files\n" in text
    assert "    held: b\n" in text
    assert "not finished: b" not in text


def test_looking_at_claims_takes_none_of_them(tmp_path):
    done = []
    assert list(claims_in(tmp_path / "nowhere")) == []
    Claims(tmp_path, (0, 2)).share(done.append, ["a"])
    assert [claim.done for claim in claims_in(tmp_path)] == [True]
    Claims(tmp_path, (1, 2)).share(done.append, ["a", "b"])
    assert set(done) == {"a", "b"}
    assert all(claim.done and not claim.held for claim in claims_in(tmp_path))


@pytest.mark.parametrize("testbed", STAGES)
def test_every_testbed_has_its_stages_in_order_and_each_says_its_files(testbed):
    assert stage_names(testbed) == STAGES[testbed]
    for name in STAGES[testbed]:
        assert callable(importlib.import_module(f"{testbed}.{name}").files)
    # run.sh has the same order.
    with open(f"{testbed}/run.sh") as script:
        assert f"for stage in {' '.join(STAGES[testbed])}; do" in script.read()


@pytest.mark.slow
@pytest.mark.parametrize("testbed", STAGES)
def test_the_option_prints_and_runs_nothing(testbed, tmp_path, capsys, monkeypatch):
    for name in STAGES[testbed]:
        module = importlib.import_module(f"{testbed}.{name}")
        (cls,) = {
            v
            for v in vars(module).values()
            if isinstance(v, type) and issubclass(v, Config) and "seed" in v.model_fields
        }

        def stage(_run):
            raise AssertionError("it ran")

        stage.__name__ = name
        arguments = [f"{testbed}/configs/smoke.yaml", "--status", "--runs", str(tmp_path / "runs")]
        run_stage(stage, cls, testbed=testbed, arguments=arguments)
        printed = capsys.readouterr().out.splitlines()
        assert printed[0].endswith("(does not exist yet)")
        assert [line.partition(":")[0] for line in printed[1:]] == STAGES[testbed]
        assert all("not begun" in line for line in printed[1:])
    assert not (tmp_path / "runs").exists()
