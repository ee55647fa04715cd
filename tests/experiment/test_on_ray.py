import os
from functools import partial

import pytest

from modelgif.experiment.launch import Launch, launching
from modelgif.experiment.on_ray import on_ray
from modelgif.experiment.parallel import for_each
from tests.support.shared_work import NAMES, describe, describe_or_die, fail, fields

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'modelgif[ray]'")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One cluster for all tests: to start one takes seconds."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    yield
    ray.shutdown()


def test_a_ray_job_whose_worker_is_killed_ends_in_the_same_files(tmp_path):
    alone, cluster = tmp_path / "alone", tmp_path / "cluster"
    for folder in (alone, cluster):
        folder.mkdir()
    for_each(partial(describe, alone), NAMES, title="t", unit="model", workers=1)
    with launching(Launch("ray")):
        for_each(partial(describe_or_die, cluster), NAMES, title="t", unit="model")
    assert (cluster / "died").exists()
    assert set(fields(alone)) == {f"{name}.h5" for name in NAMES}
    assert fields(cluster) == fields(alone)
    notes = {file.name: file.read_text() for file in (cluster / "notes").iterdir()}
    assert sorted(name[0] for name in notes) == sorted(NAMES)
    # One thread, and nothing was there already.
    assert set(notes.values()) == {"1 0"}
    workers = {name.partition("-")[2] for name in notes}
    assert str(os.getpid()) not in workers
    assert (cluster / "died").read_text() not in workers


def test_failures_are_told_once_the_others_are_done(tmp_path):
    done = []
    errors = on_ray(partial(fail, tmp_path), NAMES, lambda: done.append(None))
    assert [(type(error), str(error)) for error in errors] == [(ValueError, "no b")]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "c", "d"]
    assert len(done) == 4


def test_nothing_to_do_needs_no_cluster():
    assert on_ray(print, []) == []
