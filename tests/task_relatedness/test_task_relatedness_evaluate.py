"""Evaluation, tables and figures of task relatedness, on made-up distances with a known answer."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from modelgif.experiment.record import read_records
from modelgif.experiment.run import open_run
from modelgif.experiment.sealed_csv import SealError
from modelgif.experiment.training import TrainingConfig
from task_relatedness import evaluate as stage
from task_relatedness import publish as publishing
from task_relatedness.comparing.distance_files import Distances, method_names
from task_relatedness.config import (
    MeasureConfig,
    PublishedConfig,
    RoomsConfig,
    TaskRelatednessConfig,
    ZooConfig,
)
from task_relatedness.evaluate import all_tables, evaluate, measurements, read_truths
from task_relatedness.method_name import MethodName
from task_relatedness.plot import agreement_figure, plot
from task_relatedness.statistics.affinity import affinity_matrix
from task_relatedness.statistics.measure import PUBLISHED, ROOMS, Truth, retrieval_measurements
from task_relatedness.tables.matrix_files import (
    AFFINITIES,
    DISTANCES,
    read_matrices,
    write_matrices,
)
from task_relatedness.tables.paper_and_ours import main_method
from task_relatedness.tables.published_matrices import published_affinity
from task_relatedness.tables.record_views import title, to_frame
from task_relatedness.tables.tables import group_table
from task_relatedness.tasks import TASK_NAMES, TASKS
from tests.support.finished import checked_workbook

N_TASKS, N_REFERENCES, N_TEST = len(TASK_NAMES), 12, 30
GROUPS = np.array([task.group for task in TASKS])
TRAINING = TrainingConfig(epochs=1, batch_size=4, learning_rate=0.01)
MEASURE = MeasureConfig(
    references=("plain", "cutmix"),
    rivals=("rsa", "saliency", "dds_cosine"),
    n_steps=5,
    n_bootstrap=60,
)
CONFIG = TaskRelatednessConfig(
    device="cpu",
    rooms=RoomsConfig(n_train=8, n_transfer=4, n_test=N_TEST, n_references=N_REFERENCES),
    zoo=ZooConfig(width=4, training=TRAINING, transfer=TRAINING),
    measure=MEASURE,
)
MODELGIF, CUTMIX, RSA, SALIENCY, DDS = map(str, (
    MethodName("modelgif", "plain", "channel_peaks", "zero"),
    MethodName("modelgif", "cutmix", "channel_peaks", "zero"),
    MethodName("rsa", "plain"),
    MethodName("saliency", "plain", "channel_peaks"),
    MethodName("dds_cosine", "plain"),
))  # fmt: skip


def symmetric(generator, low=0.0, high=1.0):
    upper = np.triu(generator.uniform(low, high, (N_TASKS, N_TASKS)), 1)
    return upper + upper.T


def transfers(distances, generator, noise=0.1):
    """Losses that grow with the distance of source and target, seen through noise in each room."""
    rooms = generator.normal(size=(N_TASKS, N_TEST))
    return {
        target: (TASK_NAMES, distances[:, [j]] + noise * rooms)
        for j, target in enumerate(TASK_NAMES)
    }


def distances_of(name, matrix, generator=None, noise=0.0):
    """Distances, with parts by reference if there is a generator of their noise."""
    name = MethodName.parse(name)
    if generator is None:
        return Distances(name, TASK_NAMES, matrix)
    seen = generator.normal(size=(N_TASKS, N_TASKS, N_REFERENCES))
    each = matrix[..., None] * np.exp(noise * (seen + seen.swapaxes(0, 1)))
    zeros = np.arange(N_TASKS)
    return Distances(name, TASK_NAMES, each.mean(-1), each, zeros)


@pytest.fixture(scope="module")
def planted():
    """ModelGiF as the truth was made of, RSA the reverse, saliency noisy, and DDS of nothing."""
    generator = np.random.default_rng(0)
    true = 0.1 + 0.4 * symmetric(generator) + 0.4 * (GROUPS[:, None] != GROUPS)
    np.fill_diagonal(true, 0)
    found = {
        MODELGIF: distances_of(MODELGIF, true, np.random.default_rng(1), noise=0.01),
        CUTMIX: distances_of(CUTMIX, true, np.random.default_rng(6), noise=0.3),
        RSA: distances_of(RSA, 1 - true),
        SALIENCY: distances_of(SALIENCY, true, np.random.default_rng(2), noise=2.0),
        DDS: distances_of(DDS, symmetric(np.random.default_rng(3))),
    }
    return true, found, transfers(true, np.random.default_rng(4))


@pytest.fixture(scope="module")
def finished(planted, tmp_path_factory):
    _, found, losses = planted
    run = open_run(
        CONFIG, testbed="task_relatedness", name="small", root=tmp_path_factory.mktemp("r")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "read_distances", lambda run: found)
        patch.setattr(stage, "read_transfer", lambda run: losses)
        (run.folder / "zoo").mkdir()
        roster(run.folder / "zoo" / "roster.csv")
        with run.stage("evaluate"):
            evaluate(run)
    plot(run)
    return run


def roster(path):
    columns = {"metric": "error", "value": 0.5, "trivial": 1.0, "better": "lower"}
    rows = [{"task": task.name, "group": task.group} | columns for task in TASKS]
    pd.DataFrame(rows).to_csv(path, index=False)


@pytest.fixture(scope="module")
def records(finished):
    return read_records(finished.folder / "records.csv")


def row(records, method, quantity, subject=ROOMS):
    rows = records[
        (records["method"] == method)
        & (records["quantity"] == quantity)
        & (records["subject"] == subject)
    ]
    assert len(rows) == 1, (method, quantity, subject)
    return rows.iloc[0]


def value(records, method, quantity, subject=ROOMS):
    return float(row(records, method, quantity, subject)["value"])


def test_the_configurations_methods_are_those_made_up():
    names = {str(name) for name in method_names(MEASURE)}
    assert names >= {MODELGIF, CUTMIX, RSA, SALIENCY, DDS}
    assert main_method(CONFIG) == MODELGIF


@pytest.mark.slow
def test_a_planted_order_is_found_reversed_or_not_at_all(records):
    for reading in ("columns", "columns_with_diagonal", "rows", "pairs"):
        assert value(records, MODELGIF, reading) > 0.85
        assert value(records, MODELGIF, f"{reading}.p") == pytest.approx(1 / 61)
        assert value(records, RSA, reading) < -0.7
        assert abs(value(records, DDS, reading)) < 0.4
        assert 0.1 < value(records, SALIENCY, reading) < value(records, MODELGIF, reading)


def test_noiseless_transfer_is_met_exactly():
    generator = np.random.default_rng(5)
    true = symmetric(generator)
    affinity = affinity_matrix(transfers(true, generator, noise=0), TASK_NAMES)
    truth = Truth(ROOMS, TASK_NAMES, affinity)
    found = {
        MODELGIF: distances_of(MODELGIF, true, generator),
        RSA: distances_of(RSA, 2 - true),
    }
    records = to_frame(measurements(CONFIG, found, [truth]))
    for reading in ("columns", "columns_with_diagonal"):
        assert value(records, MODELGIF, reading) == pytest.approx(1)
        assert row(records, MODELGIF, reading)["n"] == N_TASKS
        assert value(records, MODELGIF, f"{reading}.low") == pytest.approx(1)
        assert row(records, MODELGIF, reading)["spread"] == pytest.approx(0, abs=1e-12)
    assert value(records, RSA, "columns") == pytest.approx(-1)
    assert value(records, RSA, "columns.lead") == pytest.approx(2)
    assert value(records, RSA, "columns.lead_low") == pytest.approx(2)
    assert value(records, MODELGIF, "precision_at_5") == pytest.approx(1)
    assert value(records, MODELGIF, "recall_at_2") == pytest.approx(2 / 5)
    assert value(records, RSA, "precision_at_1") == 0


@pytest.mark.slow
def test_spreads_are_known_where_references_are_apart_and_grow_with_their_noise(records):
    quiet, loud = (row(records, name, "columns")["spread"] for name in (MODELGIF, SALIENCY))
    assert 0 < quiet < loud < 0.5
    assert np.isnan(row(records, RSA, "columns")["spread"])
    # By Taskonomy's affinities, whose images are not known, references alone are resampled.
    assert 0 < row(records, MODELGIF, "columns", PUBLISHED)["spread"] < 0.1


def test_a_spread_is_what_other_references_would_have_given(planted):
    true, _, _ = planted
    truth = Truth(PUBLISHED, TASK_NAMES, published_affinity())
    values, spreads = [], []
    config = CONFIG.model_copy(update={"measure": MEASURE.model_copy(update={"rivals": ()})})
    for seed in range(20):
        drawn = distances_of(MODELGIF, true, np.random.default_rng(seed), noise=0.6)
        found = to_frame(measurements(config, {MODELGIF: drawn}, [truth]))
        measured = row(found, MODELGIF, "pairs", PUBLISHED)
        values.append(measured["value"])
        spreads.append(measured["spread"])
    assert np.mean(spreads) == pytest.approx(1.96 * np.std(values), rel=0.4)


@pytest.mark.slow
def test_leads_are_differences_and_their_interval_is_paired(records):
    for reading in ("columns", "rows", "pairs"):
        lead = value(records, SALIENCY, f"{reading}.lead")
        own = value(records, MODELGIF, reading) - value(records, SALIENCY, reading)
        assert lead == pytest.approx(own)
        low, high = (value(records, SALIENCY, f"{reading}.lead_{end}") for end in ("low", "high"))
        assert low < lead < high
    assert not ((records["method"] == MODELGIF) & records["quantity"].str.contains("lead")).any()


@pytest.mark.slow
def test_the_groups_alone_are_the_plainest_rival(records):
    plain = "task groups alone"
    assert 0.3 < value(records, plain, "columns") < value(records, MODELGIF, "columns")
    published = scipy.stats.spearmanr(
        *(matrix[np.arange(N_TASKS) != 3, 3] for matrix in (
            -(GROUPS[:, None] != GROUPS).astype(float), published_affinity(),
        ))
    ).statistic  # fmt: skip
    assert value(records, plain, f"columns.{TASK_NAMES[3]}", PUBLISHED) == pytest.approx(published)


@pytest.mark.slow
def test_the_rooms_own_affinities_are_judged_by_taskonomys(records, finished):
    rooms = read_matrices(finished.folder, AFFINITIES, TASK_NAMES)[ROOMS]
    own = [
        scipy.stats.spearmanr(a, b).statistic
        for a, b in zip(rooms.T, published_affinity().T, strict=True)
    ]
    found = row(records, "affinities, rooms", "columns_with_diagonal", PUBLISHED)
    assert found["value"] == pytest.approx(np.mean(own))
    assert found["spread"] > 0
    assert "affinities, rooms" not in set(records.loc[records["subject"] == ROOMS, "method"])


@pytest.mark.slow
def test_groups_are_seen_in_what_has_them(records):
    assert value(records, MODELGIF, "rand_average", "groups") == 1
    assert value(records, MODELGIF, "separation.3D", "groups") > 0.95
    assert value(records, DDS, "rand_average", "groups") < 0.5
    assert value(records, "affinities, rooms", "separation", "groups") > 0.9
    table = group_table(records).set_index("method")
    assert table["branch Semantic"][title(MODELGIF)] == 1
    assert {"affinities, rooms", "affinities, Taskonomy"} <= set(table.index)


@pytest.mark.slow
def test_zero_cells_are_recorded_with_their_number(records):
    of_last = row(records, MODELGIF, "zero_cells", TASK_NAMES[-1])
    assert (of_last["value"], of_last["n"]) == (N_TASKS - 1, 5 * N_REFERENCES)
    assert row(records, SALIENCY, "zero_cells", TASK_NAMES[2])["n"] == N_REFERENCES


@pytest.mark.slow
def test_matrices_can_be_had_back_exactly(finished, planted):
    _, found, losses = planted
    distances = read_matrices(finished.folder, DISTANCES, TASK_NAMES)
    assert list(distances) == list(found)
    for name, of_method in found.items():
        np.testing.assert_array_equal(distances[name], of_method.matrix)
    affinities = read_matrices(finished.folder, AFFINITIES, TASK_NAMES)
    assert list(affinities) == [ROOMS, PUBLISHED]
    np.testing.assert_array_equal(affinities[ROOMS], affinity_matrix(losses, TASK_NAMES))
    np.testing.assert_array_equal(affinities[PUBLISHED], published_affinity())
    some = (TASK_NAMES[4], TASK_NAMES[1])
    part = read_matrices(finished.folder, AFFINITIES, some)[ROOMS]
    np.testing.assert_array_equal(part, affinities[ROOMS][np.ix_([4, 1], [4, 1])])


def test_matrices_that_are_not_whole_are_refused(tmp_path):
    matrix = np.random.default_rng(0).random((3, 3))
    write_matrices(tmp_path, DISTANCES, {"x": matrix}, "abc")
    np.testing.assert_array_equal(
        read_matrices(tmp_path, DISTANCES, "cab")["x"][1, 2], matrix[0, 1]
    )
    with pytest.raises(ValueError, match="one entry of x for each pair of a, b, c, d: run the"):
        read_matrices(tmp_path, DISTANCES, "abcd")
    path = tmp_path / DISTANCES
    path.write_text(path.read_text().replace("x,a,b,0.", "x,a,b,1."))
    with pytest.raises(SealError, match="damaged"):
        read_matrices(tmp_path, DISTANCES, "abc")


@pytest.mark.slow
def test_the_tables_are_those_of_the_records(records):
    tables = all_tables(CONFIG, records)
    first = tables["agreement, rooms"]
    assert first["method"][0] == "ModelGiF (plain, channel peaks, zero)"
    assert first["columns"][0].startswith(f"{value(records, MODELGIF, 'columns'):.2f} (")
    assert first["± images, columns"].tolist().count("") == 3  # RSA, DDS, and the groups
    order = [value(records, name, "columns") for name in (MODELGIF, "task groups alone", SALIENCY)]
    assert order == sorted(order, reverse=True)
    assert first["method"].iloc[-1] == "RSA (plain)"
    assert set(tables["leads, rooms"]["lead over"]) == set(first["method"][1:])
    # One row per method, all variants of ModelGiF, and everything.
    variants = {title(MODELGIF), title(CUTMIX)}
    assert set(tables["variants, rooms"]["method"]) == variants
    assert title(CUTMIX) not in set(first["method"]) | set(tables["groups"]["method"])
    assert set(tables["all methods, rooms"]["method"]) == {*first["method"], *variants}
    assert title(CUTMIX) in set(tables["all methods, groups"]["method"])
    papers = tables["papers"].set_index("method")
    assert papers["printed"]["ModelGiF"] == pytest.approx(0.8349192618)
    assert papers["their matrix, our code"]["RSA"] == pytest.approx(0.7771049596)
    ours = value(records, DDS, "columns_with_diagonal")
    assert papers["here, by rooms"]["DDS, cosine, z-normalised"] == pytest.approx(ours)
    assert pd.isna(papers["here, by rooms"]["DDS, linear (CKA), centred"])


@pytest.mark.slow
def test_the_workbook_and_the_records_agree(finished):
    book = checked_workbook(finished.folder)
    assert {"networks", "agreement, rooms", "agreement, Taskonomy", "groups", "papers"} <= set(book)
    assert list(book)[-1] == "conditions"


@pytest.mark.slow
def test_the_figures_show_every_method(finished, records):
    drawn = {path.stem for path in (finished.folder / "figures").iterdir()}
    assert drawn == set(publishing.PICTURES)
    figure = agreement_figure(records, [ROOMS, PUBLISHED])
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown[0] == title(MODELGIF)
    assert len(shown) == len(set(shown)) == 7
    dots = figure.axes[1].collections[1].get_offsets()
    assert dots[0][0] == pytest.approx(value(records, MODELGIF, "columns"))
    page = (finished.folder / "report.html").read_text()
    assert "Which tasks are related?" in page
    assert "No other method does better." in page


@pytest.mark.slow
def test_evaluating_again_gives_the_same_numbers(finished, planted, monkeypatch):
    _, found, losses = planted
    monkeypatch.setattr(stage, "read_distances", lambda run: found)
    monkeypatch.setattr(stage, "read_transfer", lambda run: losses)
    before = read_records(finished.folder / "records.csv")
    matrices = [(finished.folder / name).read_bytes() for name in (DISTANCES, AFFINITIES)]
    evaluate(finished)
    after = read_records(finished.folder / "records.csv")
    # Somebody may have committed in between.
    pd.testing.assert_frame_equal(after.drop(columns="commit"), before.drop(columns="commit"))
    again = [(finished.folder / name).read_bytes() for name in (DISTANCES, AFFINITIES)]
    assert again == matrices


def test_published_encoders_have_taskonomys_affinities_alone(planted, tmp_path, monkeypatch):
    _, found, _ = planted
    tasks = TASK_NAMES[2:7]
    config = TaskRelatednessConfig(
        tasks=tasks, published=PublishedConfig(root="r", images="i"), measure=MEASURE
    )
    part = np.ix_(range(2, 7), range(2, 7))
    cut = {
        name: Distances(of.name, tasks, of.matrix[part], None if of.per_reference is None else
                        of.per_reference[part], None)
        for name, of in found.items()
    }  # fmt: skip
    monkeypatch.setattr(stage, "read_distances", lambda run: cut)
    run = open_run(config, testbed="task_relatedness", name="paper", root=tmp_path)
    (truth,) = read_truths(run)
    assert truth.name == PUBLISHED
    np.testing.assert_array_equal(truth.affinity, published_affinity()[part])
    evaluate(run)
    plot(run)
    records = read_records(run.folder / "records.csv")
    assert set(records["subject"]) == {PUBLISHED, "groups"}
    # Five tasks: three are relevant, so that one is not.
    assert set(records.loc[records["quantity"].str.startswith("precision"), "quantity"]) == {
        f"precision_at_{k}" for k in (1, 2, 3)
    }
    assert "here, by rooms" not in all_tables(config, records)["papers"]


def test_test_rooms_are_resampled(planted, monkeypatch, tmp_path):
    _, _, losses = planted
    monkeypatch.setattr(stage, "read_transfer", lambda run: losses)
    run = open_run(CONFIG, testbed="task_relatedness", name="small", root=tmp_path)
    rooms, published = read_truths(run)
    assert (rooms.name, published.draws) == (ROOMS, None)
    assert rooms.draws.shape == (60, N_TASKS, N_TASKS)
    np.testing.assert_allclose(rooms.draws.sum(1), 1)
    assert 0 < rooms.draws.std(0).max() < 0.5
    np.testing.assert_array_equal(rooms.draws, read_truths(run)[0].draws)


def test_an_order_that_does_not_exist_is_left_out():
    tasks = TASK_NAMES[:3]
    truth = Truth(ROOMS, tasks, np.array([[0.5, 0.2, 0.1], [0.3, 0.5, 0.1], [0.2, 0.3, 0.8]]))
    equal = 1 - np.eye(3)
    found = {MODELGIF: Distances(MethodName.parse(MODELGIF), tasks, equal)}
    config = CONFIG.model_copy(update={"tasks": tasks})
    quantities = {m.quantity for m in measurements(config, found, [truth])[MODELGIF]}
    assert "columns" not in quantities
    assert "pairs" not in quantities
    # A target is nearer to itself than to all others, and its affinity agrees.
    assert "columns_with_diagonal" in quantities


def test_random_orders_retrieve_what_chance_does():
    generator = np.random.default_rng(0)
    truth = Truth(ROOMS, TASK_NAMES, generator.random((N_TASKS, N_TASKS)))
    found = [
        {m.quantity: m.value for m in retrieval_measurements(symmetric(generator), truth)}
        for _ in range(40)
    ]
    for k in (1, 3, 5):
        assert np.mean([f[f"precision_at_{k}"] for f in found]) == pytest.approx(5 / 16, abs=0.06)
        assert np.mean([f[f"recall_at_{k}"] for f in found]) == pytest.approx(k / 16, abs=0.06)


@pytest.mark.slow
def test_publishing_copies_files_and_fills_the_page(finished, tmp_path, monkeypatch):
    home = tmp_path / "task_relatedness"
    home.mkdir()
    (tmp_path / "assets").mkdir()
    names = ("conditions", "agreement, rooms", "pictures", "networks")
    page = "".join(f"<!-- begin {name} -->\n<!-- end {name} -->\n" for name in names)
    (home / "README.md").write_text(page)
    monkeypatch.setattr(publishing, "HERE", home)
    publishing.publish(finished)
    text = (home / "README.md").read_text()
    assert "| ModelGiF (plain, channel peaks, zero) |" in text
    assert f"`{finished.label}`, seed 0" in text
    for picture in publishing.PICTURES:
        asset = f"assets/tasks_small_{picture}.png"
        assert f"](../{asset})" in text
        drawn = finished.folder / "figures" / f"{picture}.png"
        assert (tmp_path / asset).read_bytes() == drawn.read_bytes()
    kept = {path.name for path in (home / "results" / "small").iterdir()}
    assert kept == {"records.csv", "run.json", "config.yaml", "roster.csv", DISTANCES, AFFINITIES}
    (home / "README.md").write_text("no sections")
    with pytest.raises(ValueError, match="has no section for agreement, rooms"):
        publishing.publish(finished)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        (MODELGIF, "ModelGiF (plain, channel peaks, zero)"),
        (RSA, "RSA (plain)"),
        ("something[plain]", "something (plain)"),
        ("task groups alone", "task groups alone"),
    ],
)
def test_methods_have_titles(name, called):
    assert title(name) == called
