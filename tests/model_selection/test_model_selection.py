"""The testbed of model selection: from scores to tables."""

import itertools
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from safetensors.torch import load_file, save_file

from model_selection.comparisons import gain_table, paper_table, published_static
from model_selection.config import ModelSelectionConfig
from model_selection.evaluate import evaluate, read_accuracy
from model_selection.measure import CHANCE, MEAN, STATIC, TAU, score_measurements, sign_test
from model_selection.plot import plot
from model_selection.publish import PICTURES, publish
from model_selection.score import score, with_sums
from model_selection.scorers import TaskFeatures, grid_readings, half, readings, summed
from model_selection.scoring_config import EvaluationConfig, GridConfig, PedConfig, ScoresConfig
from model_selection.sheets import (
    by_score,
    cost_measurements,
    grid_measurements,
    half_measurements,
)
from model_selection.static_ranking import published_accuracy, published_taus, static_ranking
from model_selection.tables import choice_table, note_table, seed_table, tau_table
from model_selection.tasks import task_names
from model_selection.taus import resampled_taus, shuffled_taus, taus
from model_selection.zoo import roster
from modelgif import transferability
from modelgif.experiment.config import Config, load_config
from modelgif.experiment.record import Measurement, Record, read_records
from modelgif.experiment.run import open_run
from modelgif.experiment.status import stages_of
from modelgif.reporting.table import write_csv
from tests.support.finished import check_files, checked_workbook

QUICK = EvaluationConfig(n_bootstrap=40, n_permutations=40)
PLAIN = PedConfig(bases=(), grid=None)


def tau_of(scores, truth):
    return scipy.stats.weightedtau(scores, truth).statistic


def random_tables(n_models=8, n_tasks=3, n_scores=2, *, seed=0):
    rng = np.random.default_rng(seed)
    models = pd.Index([f"model{i}" for i in range(n_models)])
    tasks = pd.Index([f"task{i}" for i in range(n_tasks)])

    def table():
        return pd.DataFrame(rng.random((n_models, n_tasks)), index=models, columns=tasks)

    return {f"score{i}": table() for i in range(n_scores)}, table()


def by_key(measurements):
    return {(m.subject, m.quantity): m for m in measurements}


def frame(found, seed=0):
    """Measurements as the records that a run would write."""
    rows = [
        Record("model_selection", "made-up", name, seed=seed, commit="", **m._asdict())
        for name, measurements in found.items()
        for m in measurements
    ]
    return pd.DataFrame([vars(row) for row in rows])


def test_published_correlations_of_tables_that_agree_with_their_rows(golden):
    rows = pd.read_csv(golden / "tllib_model_selection_scores.csv")
    reported = pd.read_csv(golden / "tllib_reported_correlations.csv")
    data_sets = ["cifar10", "stanfordcars", "sun397"]
    rows = rows[rows["dataset"].isin(data_sets)]

    def table(column):
        return rows.pivot(index="model", columns="dataset", values=column)

    accuracy = table("finetuned_acc")
    assert accuracy.shape == (10, 3)
    names = ["HScore", "LEEP", "LogME", "NCE"]
    found = score_measurements({n: table(n) for n in names}, accuracy, QUICK, seed=0)
    # A correlation of values printed with three digits is known less well than one of ranks.
    printed = {"Weighted Tau": (TAU, 5.01e-4), "Pearson Corr": ("pearson", 6e-3)}
    reported = reported[reported["dataset"].isin(data_sets)]
    assert len(reported) == 24
    for row in reported.itertuples():
        quantity, rounding = printed[row.stat]
        measured = by_key(found[row.metric])[row.dataset, quantity]
        assert measured.value == pytest.approx(row.value, abs=rounding), row
        assert measured.n == 10


def test_the_static_ranking_beats_every_published_row():
    accuracy, table = published_accuracy("ped"), published_taus("ped")
    assert (accuracy.shape, table.shape) == ((12, 11), (8, 10))
    by_hand = []
    for task in table.columns:
        others = [name for name in accuracy.columns if name != task]
        order = [np.mean([accuracy.loc[model, o] for o in others]) for model in accuracy.index]
        by_hand.append(tau_of(order, accuracy[task].to_numpy()))
    assert published_static("ped") == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert 0.67 <= published_static("ped") <= 0.685
    # Without the eleventh data set, which the table of τ leaves out, the order hardly changes.
    ten = accuracy[table.columns]
    mean = taus(static_ranking(ten).to_numpy(), ten.to_numpy()).mean()
    assert 0.67 <= mean <= 0.685
    assert table.mean(axis=1).max() == pytest.approx(0.63, abs=5e-3)
    assert published_static("sfda") > published_taus("sfda").mean(axis=1).max() > 0.7


def test_a_static_ranking_needs_other_tasks():
    one = pd.DataFrame({"task": [0.1, 0.2]})
    with pytest.raises(ValueError, match="needs other tasks to rank by, got 1 in all"):
        static_ranking(one)


def test_the_sign_test_is_scipys():
    assert sign_test([1.0, 2.0, -1.0, 0.0, math.nan]) == (2, 3, 1.0)
    assert sign_test([0.1] * 10).p_value == pytest.approx(2 / 2**10)
    differences = np.array([0.2, -0.1, 0.3, 0.4, 0.1, 0.2, -0.3, 0.6])
    # P(at least 6 of 8) twice.
    both_tails = 2 * sum(math.comb(8, k) for k in (6, 7, 8)) / 2**8
    assert sign_test(differences) == (6, 8, pytest.approx(both_tails))
    assert sign_test(differences).p_value == scipy.stats.binomtest(6, 8).pvalue
    assert sign_test([]) == (0, 0, 1.0)


def test_published_gains_of_ped():
    same = [Measurement("task", TAU, 0.5, 9)]
    names = [f"{base}{end}" for base in ("logme", "sfda", "gbc") for end in ("", "+ped")]
    table = gain_table([frame(dict.fromkeys(names, same))]).set_index(["score", "where"])
    paper = table.xs("paper", level="where")
    assert paper["better"].to_dict() == {"LogME": "10 of 10", "SFDA": "8 of 10", "GBC": "10 of 10"}
    assert paper.loc["SFDA", "sign test p"] == pytest.approx(0.109375)
    assert paper.loc["LogME", "gain"] == pytest.approx(0.6268 - 0.3579, abs=1e-4)
    ours = table.xs("seed 0", level="where")
    assert (ours["better"] == "0 of 0").all()


def test_resampled_orders_are_those_of_the_drawn_models():
    tables, accuracy = random_tables()
    x, y = tables["score0"].to_numpy(), accuracy.to_numpy()
    draws = np.random.default_rng(1).integers(8, size=(30, 8))
    found = resampled_taus(x, y, draws)
    for i, draw in enumerate(draws):
        expected = tau_of([x[k, 2] for k in draw], [y[k, 2] for k in draw])
        assert found[i, 2] == pytest.approx(expected, abs=1e-12)
    # A draw of one model alone has no order.
    assert np.isnan(resampled_taus(x, y, np.zeros((1, 8), dtype=int))).all()


def test_a_bootstrap_interval_against_all_draws_there_are():
    # Four models have 4⁴ draws: percentiles of all of them are the bootstrap's, exactly.
    rng = np.random.default_rng(3)
    x, y = rng.random((4, 2)), rng.random((4, 2))
    everything = np.array(list(itertools.product(range(4), repeat=4)))
    exact = np.nanquantile(resampled_taus(x, y, everything).mean(1), [0.1, 0.9])
    models = pd.Index(list("abcd"))
    scores = pd.DataFrame(x, index=models, columns=pd.Index(["one", "two"]))
    accuracy = pd.DataFrame(y, index=models, columns=scores.columns)
    config = EvaluationConfig(n_bootstrap=1500, n_permutations=1, level=0.8, top_k=2)
    found = by_key(score_measurements({"score": scores}, accuracy, config, seed=5)["score"])
    low, high = (found[MEAN, f"{TAU}_{end}"].value for end in ("low", "high"))
    assert [low, high] == pytest.approx(exact, abs=0.07)
    assert found[MEAN, TAU].value == pytest.approx(taus(x, y).mean())


def test_p_values_against_all_orders_there_are():
    # One task of four models in the right order: one of 24 orders is as good.
    order = pd.DataFrame({"task": [1.0, 2.0, 3.0, 4.0]}, index=list("abcd"))
    config = EvaluationConfig(n_bootstrap=1, n_permutations=1500)
    found = score_measurements({"score": order}, order, config, seed=0)
    p_value = by_key(found["score"])[MEAN, f"{TAU}_p"]
    assert p_value.value == pytest.approx(1 / 24, abs=0.02)
    everything = np.array(list(itertools.permutations(range(4))))
    null = shuffled_taus(order.to_numpy(), order.to_numpy(), everything)
    assert (null >= 1 - 1e-12).sum() == 1
    spread = by_key(found[CHANCE])["task", "null_spread"].value
    assert spread == pytest.approx(null.std(), abs=0.02)


def test_the_null_spread_of_twelve_models():
    _, accuracy = random_tables(12, 2)
    config = EvaluationConfig(n_bootstrap=1, n_permutations=1000)
    found = by_key(score_measurements({}, accuracy, config, seed=0)[CHANCE])
    rng = np.random.default_rng(7)
    by_scipy = np.std([tau_of(rng.random(12), rng.random(12)) for _ in range(1000)])
    for task in accuracy.columns:
        spread = found[task, "null_spread"]
        assert spread.value == pytest.approx(by_scipy, abs=0.03)
        assert spread.value == pytest.approx(0.27, abs=0.02)
        assert spread.n == 12


def test_missing_tied_and_saturated_scores_are_never_dropped():
    tables, accuracy = random_tables(5, 3)
    whole = tables["score0"]
    few = tables["score1"].copy()
    few.iloc[[1, 3]] = np.nan
    scores = {
        "logme": whole,
        "leep": few,
        "nce": whole * np.nan,
        "sfda": whole.assign(task1=1.0),
        "knn": whole.round(1),
        STATIC: static_ranking(accuracy),
    }
    found = score_measurements(scores, accuracy, QUICK, seed=0)
    long = pd.concat(
        table.rename_axis("model")
        .reset_index()
        .melt("model", var_name="task")
        .assign(score=name, seconds=0.5, note=np.nan)
        for name, table in scores.items()
        if name != STATIC
    )
    for name, measurements in cost_measurements(long).items():
        found[name] += measurements

    leep = by_key(found["leep"])
    have = ["model0", "model2", "model4"]
    expected = tau_of(few.loc[have, "task0"], accuracy.loc[have, "task0"])
    assert leep["task0", TAU] == ("task0", TAU, pytest.approx(expected), 3, None)
    # Chosen among those that have a score, and judged against the best of all.
    best = few.loc[have, "task2"].idxmax()
    regret = accuracy["task2"].max() - accuracy.loc[best, "task2"]
    assert leep["task2", "top_1_regret"].value == pytest.approx(regret)
    assert leep[MEAN, "n_missing"][2:4] == (6, 15)

    sfda = by_key(found["sfda"])
    assert ("task1", TAU) not in sfda
    assert sfda[MEAN, TAU].n == 2
    pair = [sfda[task, TAU].value for task in ("task0", "task2")]
    assert sfda[MEAN, TAU].value == pytest.approx(np.mean(pair))
    # All tied: any model may be chosen.
    of_all = accuracy["task1"].max() - accuracy["task1"].mean()
    assert sfda["task1", "top_1_regret"].value == pytest.approx(of_all)
    assert sfda["task1", "top_3_recall"].value == pytest.approx(3 / 5)

    knn = by_key(found["knn"])["task0", TAU].value
    assert knn == pytest.approx(tau_of(whole["task0"].round(1), accuracy["task0"]))
    assert [quantity for _, quantity in by_key(found["nce"])] == ["seconds", "n_missing"]

    table = tau_table(frame(found)).set_index("score")
    assert set(table.index) == {
        *("LogME", "LEEP", "NCE", "SFDA", "nearest neighbours", "static ranking", "random orders")
    }
    assert table.loc["LEEP", "task0"].endswith(" (3 of 5 models)")
    assert table.loc["SFDA", "mean"].endswith(" (2 of 3 tasks)")
    assert (table.loc["NCE"] == "").all()
    assert table.loc["LogME", "task0"] == f"{tau_of(whole['task0'], accuracy['task0']):.2f}"
    assert table.loc["random orders", "mean"].startswith("± 0.")
    choices = choice_table(frame(found)).set_index("score")
    assert choices.loc["SFDA", "top-1 regret, points"] > 0
    assert math.isnan(choices.loc["NCE", "mean τ"])
    names = ["LogME", "LEEP", "NCE", "static ranking"]
    assert choices.loc[names, "models"].tolist() == ["5 of 5", "3 of 5", "0 of 5", "5 of 5"]
    notes = note_table(long)
    assert notes["cases"].tolist() == ["6 of 15", "15 of 15"]
    assert set(notes["what"]) == {"missing"}


def test_gains_are_paired_and_intervals_of_nothing_are_nothing():
    tables, accuracy = random_tables(7, 4)
    scores = {"logme": tables["score0"], "logme+ped": tables["score0"], "gbc": tables["score1"]}
    scores["gbc+ped"] = -scores["gbc"]
    found = score_measurements(scores, accuracy, QUICK, seed=0)
    same, moved = by_key(found["logme+ped"]), by_key(found["gbc+ped"])
    # The same order in every draw: no gain, and no doubt of it.
    assert [same[MEAN, f"gain{end}"].value for end in ("", "_low", "_high")] == [0, 0, 0]
    assert same[MEAN, "sign_test_p"][2:4] == (1.0, 0)
    before, after = (taus(scores[n].to_numpy(), accuracy.to_numpy()) for n in ("gbc", "gbc+ped"))
    assert moved[MEAN, "gain"].value == pytest.approx((after - before).mean())
    assert moved[MEAN, "tasks_better"][2:4] == ((after > before).sum(), 4)
    assert moved["task2", "gain"].value == pytest.approx(after[2] - before[2])

    runs = [frame(found, seed=seed) for seed in (0, 1)]
    gains = gain_table(runs).set_index(["score", "where"])
    assert gains.index.get_level_values("where").unique().tolist() == [
        *("seed 0", "seed 1", "all seeds", "paper")
    ]
    assert gains.loc[("GBC", "all seeds"), "better"] == f"{2 * (after > before).sum()} of 8"
    seeds = seed_table(runs).set_index("score")
    assert seeds.loc["GBC", "mean"] == pytest.approx(before.mean())
    assert seeds["mean"].is_monotonic_decreasing


def test_the_papers_are_beside_ours():
    tables, accuracy = random_tables(7, 4)
    found = score_measurements({"logme": tables["score0"]}, accuracy, QUICK, seed=0)
    table = paper_table(frame(found)).set_index("score")
    ours = taus(tables["score0"].to_numpy(), accuracy.to_numpy()).mean()
    assert table.loc["LogME", "here"] == pytest.approx(ours)
    ped, sfda = table.columns[1:]
    assert table.loc["LogME+PED", ped] == pytest.approx(0.6268)
    assert table.loc["static ranking", ped] == pytest.approx(0.68, abs=0.01)
    assert table.loc["SFDA", sfda] == pytest.approx(0.7098, abs=1e-4)
    assert math.isnan(table.loc["GBC", sfda])


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(90) % 3)
    features = np.maximum(rng.normal(size=(3, 6))[labels] + rng.normal(size=(90, 6)), 0)
    logits = rng.normal(size=(90, 4)) + np.eye(4)[labels]
    return TaskFeatures(
        torch.from_numpy(features),
        torch.from_numpy(labels),
        torch.from_numpy(logits).softmax(1),
    )


WEIGHTS = {"weights_sha256": "new"}
GENERAL = torch.from_numpy(np.random.default_rng(1).random((50, 6)))


def test_readings_are_the_scores_themselves(task):
    config = ScoresConfig()
    found = {r.score: r for r in readings(task, GENERAL, config.names, config.ped, seed=3)}
    x, y = task.features, task.labels
    assert found["logme"].value == transferability.logme(x, y)
    assert found["nleep"].value == transferability.nleep(x, y, seed=3)
    assert found["leep"].value == transferability.leep(task.probabilities, y)
    assert found["ncti.variability"].value == transferability.ncti_parts(x, y).variability
    assert found["etran.energy"].value == transferability.etran_parts(x, y).energy
    for base in config.ped.bases:
        score = getattr(transferability, base)
        moved = transferability.ped(
            x,
            y,
            general=GENERAL,
            score=lambda a, b, score=score, base=base: (
                score(a, b, seed=3) if base == "nleep" else score(a, b)
            ),
        )
        assert found[f"{base}+ped"].value == pytest.approx(moved, rel=1e-12)
    assert len(found) == len(config.names) + 3 + len(config.ped.bases)
    assert all(math.isfinite(r.value) and r.seconds > 0 for r in found.values())


def test_a_capped_mixture_has_so_many_components(task):
    (found,) = readings(task, GENERAL, ["nleep"], PLAIN, nleep_max_components=4)
    expected = transferability.nleep(task.features, task.labels, n_components=4)
    assert found.value == pytest.approx(expected)
    (whole,) = readings(task, GENERAL, ["nleep"], PLAIN)
    assert whole.value == transferability.nleep(task.features, task.labels)


def test_what_cannot_be_scored_is_missing_with_a_reason(task):
    names = ["logme", "leep", "nce", "ncti"]
    strange = TaskFeatures(task.features * math.nan, task.labels)
    found = {r.score: r for r in readings(strange, GENERAL, names, PedConfig(bases=("logme",)))}
    parts = ["ncti.geometry", "ncti.separability", "ncti.variability"]
    assert set(found) == {"logme", "leep", "nce", *parts, "logme+ped"}
    assert all(math.isnan(r.value) for r in found.values())
    assert found["nce"].note == "the model has no classes of its own"
    for name in ("logme", "logme+ped", "ncti.geometry"):
        assert "features must be finite, but 90 of 90 rows are not" in found[name].note
    assert np.isnan(grid_readings(strange, GENERAL, GridConfig())).all()


def test_saturation_is_noted_and_the_score_kept(task):
    apart = task._replace(features=task.features + 1e3 * torch.eye(6)[task.labels])
    (found,) = readings(apart, GENERAL, ["sfda"], PLAIN)
    assert found.value == pytest.approx(1)
    assert "SFDA is saturated" in found.note
    sheet = pd.DataFrame([found._asdict() | {"score": "sfda"}] * 4)
    notes = note_table(sheet)
    assert notes[["score", "what", "cases"]].to_numpy().tolist() == [["SFDA", "warned", "4 of 4"]]


def test_the_grid_holds_the_settings(task):
    grid = GridConfig(n_sigma=(0.3, 0.6), dt=(0.1, 0.9))
    found = grid_readings(task, GENERAL, grid)
    one = transferability.ped(
        *task[:2], general=GENERAL, score=transferability.logme, n_sigma=0.6, dt=0.9
    )
    assert found.shape == (2, 2)
    assert found[1, 1] == pytest.approx(one, rel=1e-9)


def test_halves_are_drawn_within_classes():
    labels = torch.tensor([5] * 10 + [2] * 7 + [9])
    sizes = set()
    for seed in range(20):
        rows = half(labels, torch.Generator().manual_seed(seed))
        assert rows.tolist() == sorted(set(rows.tolist()))
        counts = torch.bincount(labels[rows], minlength=10)
        assert (counts[5], counts[9]) == (5, 1)
        sizes.add(counts[2].item())
        again = half(labels, torch.Generator().manual_seed(seed))
        assert torch.equal(rows, again)
    assert sizes == {3, 4}
    drawn = [half(labels, torch.Generator().manual_seed(seed)) for seed in range(400)]
    share = torch.bincount(torch.cat(drawn), minlength=18) / 400
    assert share[:17].sub(0.5).abs().max() < 0.1


def test_sums_are_over_the_models_that_have_the_parts():
    parts = np.array([[1.0, 0.2, 3.0], [2.0, 0.4, 1.0], [3.0, 0.3, 2.0], [9.0, math.nan, 9.0]])
    by_hand = [0 + 0 - 1, 0.5 + 1 - 0, 1 + 0.5 - 0.5]
    assert summed("ncti", parts)[:3] == pytest.approx(by_hand)
    assert math.isnan(summed("ncti", parts)[3])

    names = ["ncti.geometry", "ncti.separability", "ncti.variability"]
    rows = [
        {"model": f"m{i}", "task": task, "score": name, "half": half_, "value": value + shift}
        | {"seconds": 0.1, "note": "noted", "n_sigma": math.nan, "dt": math.nan}
        for shift, (task, half_) in enumerate([("a", math.nan), ("a", 0.0), ("b", math.nan)])
        for i, own in enumerate(parts)
        # In an order that is not that of the parts.
        for name, value in reversed(list(zip(names, own, strict=True)))
    ]
    rows.append(rows[0] | {"score": "logme", "value": 7.0})
    whole = with_sums(pd.DataFrame(rows))
    assert len(whole) == 1 + 3 * 4
    assert whole["score"].tolist() == ["logme"] + ["ncti"] * 12
    of_b = whole[(whole["task"] == "b") & whole["half"].isna()].set_index("model")
    assert of_b.loc[["m0", "m1", "m2"], "value"].tolist() == pytest.approx(by_hand)
    assert of_b["seconds"].tolist() == pytest.approx([0.3] * 4)
    assert math.isnan(of_b.loc["m3", "value"])


def test_halves_and_grid_are_judged_like_the_scores():
    tables, accuracy = random_tables(6, 2, 4)

    def long(table, **more):
        rows = table.rename_axis("model").reset_index().melt("model", var_name="task")
        return rows.assign(**more)

    each = [tables[f"score{i}"] for i in range(3)]
    halves = pd.concat([long(t, score="logme", half=i) for i, t in enumerate(each)])
    found = by_key(half_measurements(halves, accuracy)["logme"])
    values = np.array([taus(t.to_numpy(), accuracy.to_numpy()) for t in each])
    mean = found[MEAN, f"{TAU}_halves"]
    assert mean.value == pytest.approx(values.mean())
    assert mean.spread == pytest.approx(1.96 * np.std(values.mean(1), ddof=1))
    assert found["task1", f"{TAU}_halves"].n == 3

    grid = pd.concat(
        long(tables[f"score{i}"], score="logme+ped", n_sigma=n, dt=0.1)
        for i, n in enumerate((0.3, 1.0))
    )
    found = by_key(grid_measurements(grid, accuracy)["logme+ped"])
    assert found[MEAN, f"{TAU}.n_sigma=1.dt=0.1"].value == pytest.approx(values[1].mean())
    assert set(by_score(long(each[0], score="logme"), accuracy)) == {"logme"}


@pytest.fixture(scope="module")
def smoke():
    """The smallest shipped zoo, with scores of little cost."""
    overrides = [
        "scores.names=[logme, sfda, ncti, knn, leep]",
        "scores.ped={bases: [logme], grid: {n_sigma: [0.6], dt: [0.1, 0.5]}}",
        "scores.halves={count: 3, scores: [logme, ncti]}",
        "evaluation={n_bootstrap: 20, n_permutations: 20}",
    ]
    return load_config(ModelSelectionConfig, "model_selection/configs/smoke.yaml", overrides)


@pytest.fixture(scope="module")
def finished(smoke, made_once):
    """A run whose models, features and accuracies are made up, with everything from there real."""

    def opened(root):
        return open_run(smoke, testbed="model_selection", name="smoke", root=root)

    return opened(made_once("selection_run", lambda root: finish(opened(root))))


def finish(run):
    smoke = run.config
    rng = np.random.default_rng(0)
    rows = []
    for i, member in enumerate(roster(smoke)):
        folder = run.folder / "features" / member.name
        folder.mkdir(parents=True)
        save_file({"features": GENERAL.float()}, folder / "general.safetensors")
        for task in task_names(smoke):
            noise = np.random.default_rng(len(task))
            labels = noise.permutation(np.arange(60) % 3)
            features = (0.2 + 0.1 * i) * np.eye(3, 6)[labels] + rng.normal(size=(60, 6))
            tensors = {
                "train_features": torch.from_numpy(features).float(),
                "train_labels": torch.from_numpy(labels),
                "test_features": torch.zeros(10, 6),
                "test_labels": torch.arange(10) % 3,
            }
            if i % 2:
                probabilities = torch.from_numpy(rng.random((60, 4))).softmax(1)
                tensors["train_probabilities"] = probabilities
            save_file(tensors, folder / f"{task}.safetensors", {"weights_sha256": f"{i}"})
            for rate, chosen in ((0.1, False), (0.01, True)):
                accuracy = 0.5 + 0.02 * i + 0.01 * rng.random() + (0.0 if chosen else 0.3)
                rows.append((member.name, task, rate, 0.0, accuracy, accuracy, chosen))
    columns = ["model", "task", "learning_rate", "weight_decay"]
    columns += ["validation_accuracy", "test_accuracy", "chosen"]
    write_csv(run.folder / "finetune" / "accuracy.csv", pd.DataFrame(rows, columns=columns))
    members = pd.DataFrame({"model": [member.name for member in roster(smoke)]})
    write_csv(run.folder / "zoo" / "roster.csv", members)
    for stage in (score, evaluate, plot):
        with run.stage(stage.__name__):
            stage(run)


def test_the_stages_leave_what_the_design_promises(finished, smoke):
    names = ["scores.csv", "halves.csv", "grid.csv", "records.csv", "results.xlsx"]
    names += [f"figures/{picture}.png" for picture in PICTURES]
    check_files(finished.folder, names)
    cells = len(roster(smoke)) * len(task_names(smoke))
    scores = pd.read_csv(finished.folder / "scores.csv")
    assert scores.groupby("score").size().to_dict() == dict.fromkeys(
        ["logme", "sfda", "ncti", "knn", "leep", "logme+ped"], cells
    )
    halves = pd.read_csv(finished.folder / "halves.csv")
    assert len(halves) == 3 * 3 * cells
    book = checked_workbook(finished.folder)
    assert book["accuracy"]["model"].tolist()[0] == roster(smoke)[-1].name


def test_recorded_scores_are_those_of_the_stored_training_features(finished, smoke):
    member, task = roster(smoke)[1], task_names(smoke)[0]
    scores = pd.read_csv(finished.folder / "scores.csv").set_index(["model", "task", "score"])
    stored = load_file(finished.folder / "features" / member.name / f"{task}.safetensors")
    x, y = stored["train_features"], stored["train_labels"]
    assert scores.loc[(member.name, task, "logme"), "value"] == transferability.logme(x, y)
    leep = transferability.leep(stored["train_probabilities"], y)
    assert scores.loc[(member.name, task, "leep"), "value"] == leep
    parts = []
    for other in roster(smoke):
        features = load_file(finished.folder / "features" / other.name / f"{task}.safetensors")
        parts.append(transferability.ncti_parts(features["train_features"], y))
    expected = transferability.scaled_sum(parts, signs=(1, 1, -1))[1]
    assert scores.loc[(member.name, task, "ncti"), "value"] == pytest.approx(expected)
    without = roster(smoke)[0].name
    assert math.isnan(scores.loc[(without, task, "leep"), "value"])
    assert scores.loc[(without, task, "leep"), "note"] == "the model has no classes of its own"


def test_only_chosen_accuracies_are_the_truth(finished, smoke):
    accuracy = read_accuracy(finished)
    assert accuracy.shape == (len(roster(smoke)), len(task_names(smoke)))
    assert accuracy.to_numpy().max() < 0.8
    records = read_records(finished.folder / "records.csv")
    scores = by_score(pd.read_csv(finished.folder / "scores.csv"), accuracy)
    task = task_names(smoke)[0]
    row = records.query("method == 'knn' and subject == @task and quantity == @TAU")
    expected = tau_of(scores["knn"][task], accuracy[task])
    assert row["value"].item() == pytest.approx(expected)


def test_scores_that_are_there_are_not_computed_again(finished, smoke, tmp_path):
    copied = open_run(smoke, testbed="model_selection", name="smoke", root=tmp_path)
    shutil.copytree(finished.folder, copied.folder, dirs_exist_ok=True)
    sheets = sorted((copied.folder / "scores").rglob("*.csv"))
    before = {sheet: sheet.stat().st_mtime_ns for sheet in sheets}
    whole = (copied.folder / "halves.csv").read_bytes()
    lost = sheets[0]
    kept = pd.read_csv(lost).drop(columns="seconds")
    lost.unlink()
    score(copied)
    changed = [s for s in sheets if s.stat().st_mtime_ns != before[s]]
    assert changed == [lost]
    pd.testing.assert_frame_equal(pd.read_csv(lost).drop(columns="seconds"), kept)
    assert (copied.folder / "halves.csv").read_bytes() == whole


def test_scores_of_other_weights_are_computed_again(finished, smoke, tmp_path):
    copied = open_run(smoke, testbed="model_selection", name="smoke", root=tmp_path)
    for folder in ("features", "scores"):
        shutil.copytree(finished.folder / folder, copied.folder / folder)
    name, task = roster(smoke)[0].name, task_names(smoke)[0]
    path = copied.folder / "features" / name / f"{task}.safetensors"
    tensors = load_file(path)
    tensors["train_features"] = tensors["train_features"].flip(1).square()
    save_file(tensors, path, WEIGHTS)
    score(copied)
    scores = pd.read_csv(copied.folder / "scores.csv").set_index(["model", "task", "score"])
    x, y = tensors["train_features"], tensors["train_labels"]
    assert scores.loc[(name, task, "logme"), "value"] == transferability.logme(x, y)


def test_models_that_saw_other_images_are_refused(finished, smoke, tmp_path):
    copied = open_run(smoke, testbed="model_selection", name="smoke", root=tmp_path)
    shutil.copytree(finished.folder / "features", copied.folder / "features")
    name, task = roster(smoke)[2].name, task_names(smoke)[1]
    path = copied.folder / "features" / name / f"{task}.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"train_labels": tensors["train_labels"].flip(0)}, path, WEIGHTS)
    with pytest.raises(ValueError, match=f"features of {name} for {task} have other labels"):
        score(copied)


def test_an_accuracy_that_is_not_chosen_once_is_refused(finished, smoke, tmp_path):
    copied = open_run(smoke, testbed="model_selection", name="smoke", root=tmp_path)
    rows = pd.read_csv(finished.folder / "finetune" / "accuracy.csv")
    write_csv(copied.folder / "finetune" / "accuracy.csv", rows.assign(chosen=True))
    with pytest.raises(ValueError, match="must choose one setting for .*, got 2: run the stage"):
        read_accuracy(copied)


def test_publishing_fills_every_section(finished, tmp_path, monkeypatch):
    here = tmp_path / "model_selection"
    here.mkdir()
    (tmp_path / "assets").mkdir()
    shutil.copyfile("model_selection/README.md", here / "README.md")
    monkeypatch.setattr("model_selection.publish.HERE", here)
    publish(finished)
    page = (here / "README.md").read_text(encoding="utf-8")
    sections = re.findall(r"<!-- begin (\w+) -->\n\n(.*?)<!-- end \1 -->", page, re.DOTALL)
    assert len(sections) == 9 + len(PICTURES)
    assert all(len(text) > 50 for _, text in sections)
    assert finished.label in page
    links = re.findall(r"\]\(([^)#:]+)\)", page)
    pictures = [link for link in links if link.endswith(".png")]
    assert len(pictures) == len(PICTURES)
    assert all((here / picture).exists() for picture in pictures)
    assert (here / "results" / "smoke" / "seed0" / "records.csv").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"names": ("logme", "logme")}, "names has logme twice"),
        ({"names": ("logme",)}, "ped.bases has sfda, which names does not compute"),
        ({"names": ("logme", "gbc"), "ped": PLAIN}, "halves.scores has sfda, which names"),
    ],
)
def test_scores_that_do_not_fit_together_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ScoresConfig(**values)
    assert issubclass(ScoresConfig, Config)


def test_the_status_of_a_finished_run_misses_no_file(finished):
    # Its models are made up: the stages that would make them have not run.
    for stage in stages_of(finished):
        if stage.name in ("score", "evaluate", "plot"):
            assert stage.made
            assert not stage.missing
