import json
import subprocess
from functools import partial

import pytest

from modelgif.experiment.config import Config, load_config
from modelgif.experiment.launch import current_launch
from modelgif.experiment.parallel import for_each
from modelgif.experiment.run import commit, open_run, run_stage


class Tiny(Config):
    number: int
    other: float = 0.5


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text("number: 3\n")
    return path


def stages_of(folder):
    return json.loads((folder / "run.json").read_text())["stages"]


def count(run):
    """Counts how often it ran."""
    path = run.folder / "count.txt"
    path.write_text(str(run.config.number))


def fail(_run):
    """Fails."""
    raise RuntimeError("on purpose")


def test_a_stage_gets_a_folder_named_by_the_resolved_configuration(tmp_path, config_file):
    arguments = [str(config_file), "--runs", str(tmp_path / "runs")]
    run_stage(count, Tiny, testbed="bed", arguments=arguments)
    run_stage(count, Tiny, testbed="bed", arguments=[*arguments, "number=4"])
    folders = sorted((tmp_path / "runs" / "bed").iterdir(), key=lambda f: f.stat().st_mtime)
    assert [(f / "count.txt").read_text() for f in folders] == ["3", "4"]
    assert all(folder.name.startswith("tiny-") for folder in folders)
    assert load_config(Tiny, folders[1] / "config.yaml") == Tiny(number=4)


def test_conditions_are_noted(tmp_path):
    run = open_run(Tiny(number=1), testbed="bed", name="x", root=tmp_path)
    with run.stage("train"):
        pass
    conditions = run.conditions()
    assert conditions["commit"] == commit()
    assert conditions["config"] == run.label
    assert {"torch", "python"} <= set(conditions["versions"])
    assert conditions["machine"]["cores"] >= 1
    assert conditions["stages"]["train"]["seconds"] >= 0


def test_a_stage_that_fails_is_not_noted_as_done(tmp_path):
    run = open_run(Tiny(number=1), testbed="bed", name="x", root=tmp_path)
    with run.stage("first"):
        pass
    with pytest.raises(RuntimeError, match="on purpose"), run.stage("second"):
        fail(run)
    assert set(stages_of(run.folder)) == {"first"}


def test_a_repeated_stage_keeps_the_time_of_the_work(tmp_path):
    run = open_run(Tiny(number=1), testbed="bed", name="x", root=tmp_path)
    with run.stage("train"):
        pass
    conditions = run.conditions()
    conditions["stages"]["train"]["seconds"] = 77.0
    (run.folder / "run.json").write_text(json.dumps(conditions))
    with run.stage("train"):
        pass
    assert stages_of(run.folder)["train"]["seconds"] == 77.0


def test_a_bad_configuration_ends_with_its_message_and_status_2(config_file, capsys):
    with pytest.raises(SystemExit) as exit_:
        run_stage(count, Tiny, testbed="bed", arguments=[str(config_file), "numbr=4"])
    assert exit_.value.code == 2
    assert "numbr" in capsys.readouterr().err


def test_showing_results_leaves_their_conditions(tmp_path, config_file):
    arguments = [str(config_file), "--runs", str(tmp_path / "runs")]
    run_stage(count, Tiny, testbed="bed", arguments=arguments, makes_results=False)
    (folder,) = (tmp_path / "runs" / "bed").iterdir()
    assert (folder / "count.txt").exists()
    assert not (folder / "run.json").exists()


def write_item(folder, item):
    (folder / item).write_text(str(current_launch().claims is not None))


def share(run):
    """Has items to share."""
    for_each(partial(write_item, run.folder), ["a", "b"], title="t", unit="item", workers=1)


@pytest.mark.parametrize("shard", [None, "0/2", "1/2"])
def test_a_shard_shares_the_work_of_a_stage(tmp_path, config_file, shard):
    arguments = [str(config_file), "--runs", str(tmp_path / "runs")]
    arguments += [] if shard is None else ["--shard", shard]
    run_stage(share, Tiny, testbed="bed", arguments=arguments)
    (folder,) = (tmp_path / "runs" / "bed").iterdir()
    # The other one never came.
    assert {(folder / item).read_text() for item in "ab"} == {str(shard is not None)}
    assert (folder / "claims" / "share").exists() == (shard is not None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "2/2"], "a shard is i/n with i from 0 to n - 1"),
        (["--shard", "0/2", "--launcher", "ray"], "exclude each other"),
        (["--launcher", "elsewhere"], "invalid choice"),
    ],
)
def test_launches_that_make_no_sense_are_refused(tmp_path, config_file, capsys, options, message):
    arguments = [str(config_file), "--runs", str(tmp_path / "runs"), *options]
    with pytest.raises(SystemExit) as exit_:
        run_stage(share, Tiny, testbed="bed", arguments=arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_commit_is_the_repository_s():
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        assert commit() == "unknown"
    else:
        assert head.stdout.startswith(commit().removesuffix("-dirty"))
