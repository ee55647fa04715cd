"""The testbed of task relatedness, whole: a smoke run through all of its stages."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from modelgif.experiment.config import ConfigError, load_config
from modelgif.experiment.record import read_records
from modelgif.experiment.run import open_run
from modelgif.experiment.status import stages_of
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.checkpoint import read_card
from modelgif.loading.load import load_model
from task_relatedness.comparing.distance_files import read_distances
from task_relatedness.comparing.references import ZERO, references
from task_relatedness.config import TaskRelatednessConfig
from task_relatedness.evaluate import evaluate
from task_relatedness.extract_fields import extract_fields
from task_relatedness.plot import plot
from task_relatedness.statistics.affinity import principal_vector, win_rates
from task_relatedness.statistics.measure import PUBLISHED, ROOMS
from task_relatedness.tables.matrix_files import AFFINITIES, DISTANCES, read_matrices
from task_relatedness.tables.published_matrices import published_affinity
from task_relatedness.train import train
from task_relatedness.transfer import read_transfer, transfer
from task_relatedness.zoo import TRUSTED_NETWORKS, encoder_path
from tests.support.finished import check_files

CONFIGS = "task_relatedness/configs"
STAGES = (train, transfer, extract_fields, evaluate, plot)
MODELGIF = "modelgif[plain,channel_peaks,zero]"


@pytest.fixture(scope="module")
def finished(made_once):
    pytest.importorskip("mitsuba", reason="rooms are rendered by Mitsuba")
    rivals = "measure.rivals=[rsa, saliency, integrated_gradients]"
    # The configuration names this folder, so it is the same for every process of the tests.
    rooms = made_once.shared / "rooms"
    config = load_config(
        TaskRelatednessConfig, f"{CONFIGS}/smoke.yaml", [f"rooms.folder={rooms}", rivals]
    )

    def opened(root):
        return open_run(config, testbed="task_relatedness", name="smoke", root=root)

    def finish(root):
        run = opened(root)
        rooms.mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            # Starting processes takes longer than what they would do here.
            for name in ("train", "transfer", "extract_fields"):
                patch.setattr(f"task_relatedness.{name}.workers_on", lambda device: 1)
            for stage in STAGES:
                with run.stage(stage.__name__):
                    stage(run)

    return opened(made_once("relatedness_run", finish))


@pytest.fixture(scope="module")
def records(finished):
    return read_records(finished.folder / "records.csv")


def value(records, method, subject, quantity):
    rows = records[
        (records["method"] == method)
        & (records["subject"] == subject)
        & (records["quantity"] == quantity)
    ]
    return rows["value"].item()


def test_the_stages_leave_what_the_design_promises(finished):
    tasks = finished.config.tasks
    expected = {
        *("run.json", DISTANCES, AFFINITIES),
        *(f"zoo/{task}{part}.safetensors" for task in tasks for part in ("", "-decoder")),
        *(f"transfer/{task}.safetensors" for task in tasks),
        *(f"figures/{name}.png" for name in ("agreement", "heat_map", "tree")),
        *(f"figures/transfer_{name}.png" for name in ("heat_map", "tree")),
    }
    check_files(finished.folder, expected)
    assert set(finished.conditions()["stages"]) == {stage.__name__ for stage in STAGES}


def test_every_network_is_judged_beside_a_trivial_one(finished):
    roster = pd.read_csv(finished.folder / "zoo" / "roster.csv")
    assert roster["task"].tolist() == list(finished.config.tasks)
    assert roster[["value", "trivial"]].notna().all(axis=None)
    card = read_card(encoder_path(finished, "normal"))
    assert roster.set_index("task")["value"]["normal"] == pytest.approx(card["value"])


def test_an_affinity_is_made_of_the_transfers_losses(finished):
    affinity = read_matrices(finished.folder, AFFINITIES, finished.config.tasks)[ROOMS]
    for column, target in enumerate(finished.config.tasks):
        sources, losses = read_transfer(finished)[target]
        assert sources == finished.config.tasks
        assert losses.shape == (4, finished.config.rooms.n_test)
        np.testing.assert_allclose(affinity[:, column], principal_vector(win_rates(losses)))


def test_a_recorded_distance_is_that_of_fields(finished):
    tasks = finished.config.tasks
    images = references(finished, "plain").images
    fields = [
        gradient_field(
            load_model(f"file:{encoder_path(finished, task)}", trust=TRUSTED_NETWORKS),
            images,
            target="channel_peaks",
            baseline=ZERO,
            n_steps=4,
        ).flatten(2)
        for task in (tasks[0], tasks[2])
    ]
    a, b = (field.double() / field.double().norm(dim=-1, keepdim=True) for field in fields)
    cosine = (a * b).sum(-1).mean().item()
    matrix = read_matrices(finished.folder, DISTANCES, tasks)[MODELGIF]
    assert matrix[0, 2] == pytest.approx(1 - cosine, abs=1e-4)
    np.testing.assert_array_equal(matrix, read_distances(finished)[MODELGIF].matrix)


@pytest.mark.parametrize("truth", [ROOMS, PUBLISHED])
def test_a_recorded_agreement_is_that_of_the_files(finished, records, truth):
    tasks = finished.config.tasks
    near = -read_matrices(finished.folder, DISTANCES, tasks)[MODELGIF]
    affinity = read_matrices(finished.folder, AFFINITIES, tasks)[truth]
    columns = [
        scipy.stats.spearmanr(a, b).statistic for a, b in zip(near.T, affinity.T, strict=True)
    ]
    found = value(records, MODELGIF, truth, "columns_with_diagonal")
    assert found == pytest.approx(np.mean(columns))
    off = ~np.eye(4, dtype=bool)
    pairs = scipy.stats.spearmanr(near[off], affinity[off]).statistic
    assert value(records, MODELGIF, truth, "pairs") == pytest.approx(pairs)


def test_taskonomys_affinities_are_those_of_the_same_tasks(finished):
    affinity = read_matrices(finished.folder, AFFINITIES, finished.config.tasks)[PUBLISHED]
    np.testing.assert_array_equal(affinity, published_affinity(finished.config.tasks))


def test_a_finished_run_is_not_done_again(finished):
    def times():
        files = [*finished.folder.rglob("*.safetensors"), *finished.folder.rglob("zoo/*.json")]
        return {file: file.stat().st_mtime_ns for file in files}

    before = times()
    assert len(before) > 15
    for stage in (train, transfer, extract_fields):
        stage(finished)
    assert times() == before


@pytest.mark.parametrize("path", sorted(Path(CONFIGS).glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_is_sound(path):
    config = load_config(TaskRelatednessConfig, path)
    assert (config.rooms is None) == (config.published is not None)
    if path.stem != "smoke":
        assert len(config.tasks) == 17


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks=[normal, autoencoding, curvature]", "must be in this order"),
        ("tasks=[autoencoding, curvature, depth]", "unknown: depth; known: autoencoding"),
        ("tasks=[autoencoding, curvature]", "at least 3"),
        ("measure.rivals=[sac]", "unknown: sac; known: "),
        ("published={root: a, images: b}", "either rooms with zoo, or published"),
        ("measure.n_step=4", "did you mean n_steps"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(TaskRelatednessConfig, f"{CONFIGS}/smoke.yaml", [override])


def test_the_status_of_a_finished_run_misses_no_file(finished):
    stages = stages_of(finished)
    assert [path for stage in stages for path in stage.missing] == []
    assert all(stage.made for stage in stages)
