"""The testbed of intellectual property protection, from a trained zoo to tables and figures."""

import shutil

import numpy as np
import pandas as pd
import pytest

from intellectual_property_protection import publish as publishing
from intellectual_property_protection.comparing.comparison_file import read_comparison
from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.evaluate import evaluate
from intellectual_property_protection.extract_fields import (
    candidates_path,
    comparison_path,
    extract_fields,
)
from intellectual_property_protection.plot import plot
from intellectual_property_protection.score_name import score_names
from intellectual_property_protection.tables.tables import (
    PAPER,
    all_tables,
    confirmed_table,
    goal_table,
    honest_table,
    method_table,
    verdict_table,
)
from intellectual_property_protection.zoo import roster
from modelgif.experiment.config import ConfigError, load_config
from modelgif.experiment.record import read_records
from modelgif.experiment.status import stages_of
from modelgif.methods import METHODS
from modelgif.ranking import auc
from modelgif.references.file import read_references
from tests.support.protection_run import open_protection_run

CONFIGS = "intellectual_property_protection/configs"


@pytest.fixture(scope="module")
def smoke():
    return load_config(IPPConfig, f"{CONFIGS}/smoke.yaml", ["device=cpu"])


@pytest.fixture(scope="module")
def finished(made_once, protection_zoo):
    def finish(root):
        shutil.copytree(protection_zoo, root, dirs_exist_ok=True)
        run = open_protection_run(root)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "intellectual_property_protection.extract_fields.workers_on", lambda device: 1
            )
            for stage in (extract_fields, evaluate, plot):
                with run.stage(stage.__name__):
                    stage(run)

    return open_protection_run(made_once("protection_run", finish))


@pytest.fixture(scope="module")
def records(finished):
    return read_records(finished.folder / "records.csv")


def values(records, method, quantity):
    rows = records[(records["method"] == method) & (records["quantity"] == quantity)]
    return rows.set_index("subject")["value"]


def test_the_stages_leave_what_the_design_promises(finished):
    expected = {
        "config.yaml",
        "references.safetensors",
        "distances.csv",
        "scores.csv",
        "records.csv",
        "results.xlsx",
        "figures/heat_map.png",
        "figures/similarity_tree.png",
        "figures/distances.png",
        "figures/roc.png",
        "figures/curve.png",
        "report.html",
        "zoo/roster.csv",
    }
    assert all((finished.folder / name).stat().st_size > 0 for name in expected)
    assert not list(finished.folder.rglob("*.part"))


def test_distances_agree_with_the_records_and_with_themselves(finished, records, smoke):
    matrix = pd.read_csv(finished.folder / "distances.csv", index_col="model")
    assert np.array_equal(matrix.to_numpy(), matrix.to_numpy().T)
    assert not np.diag(matrix.to_numpy()).any()
    ours = values(records, "field@random", "distance_to_victim")
    assert set(ours.index) == {m.name for m in roster(smoke)[1:]}
    # All but the victim's field were stored in half precision for the matrix alone.
    np.testing.assert_allclose(ours, matrix.loc[ours.index, matrix.index[0]], atol=2e-3)


def test_scores_are_means_over_the_first_references(finished, smoke):
    scores = pd.read_csv(finished.folder / "scores.csv", index_col="model")
    ids = read_references(candidates_path(finished)).ids
    count = smoke.references.count
    for member in roster(smoke)[1:]:
        found = read_comparison(comparison_path(finished, member))
        for source in smoke.references.sources:
            first = [i for i, name in enumerate(ids) if name.startswith(f"{source}/")][:count]
            expected = found.per_reference["field_last"][first].mean()
            assert scores.loc[member.name, f"field_last@{source}"] == pytest.approx(expected)


def test_every_score_is_measured_for_every_attack_it_can_describe(records, smoke):
    attacks = {m.attack for m in roster(smoke) if m.is_derived}
    transfers = {"transfer_all", "transfer_last"}
    for name in score_names(smoke.references, smoke.evaluation):
        found = set(values(records, str(name), "auc_pooled").index)
        needs_labels = name.method in METHODS and METHODS[name.method].same_classes
        assert found == (attacks - transfers if needs_labels else attacks), name


def test_pooled_aucs_are_recomputed_from_the_distances(records, smoke):
    distance = values(records, "labels@random", "distance_to_victim")
    members = {m.name: m for m in roster(smoke)}
    honest = [
        distance[m.name]
        for m in members.values()
        if m.role in ("independent", "suspect")
        and not m.is_derived
        and (m.data, m.label_set) == ("other", "source")
    ]
    for attack, value in values(records, "labels@random", "auc_pooled").items():
        derived = [
            distance[m.name] for m in members.values() if m.attack == attack and m.role == "suspect"
        ]
        assert value == pytest.approx(auc(derived, honest), abs=1e-12)


def test_the_workbook_is_made_from_the_csv_files(finished, records):
    book = pd.read_excel(finished.folder / "results.xlsx", sheet_name=None)
    np.testing.assert_allclose(book["records"]["value"], records["value"], rtol=1e-12)
    tables = ["suspects", "attacks", "honest", "methods", "goal", "paper", "curves"]
    assert list(book) == [*tables, "distances", "roster", "records", "conditions"]


def test_every_suspect_gets_a_verdict(finished, records, smoke):
    zoo = pd.read_csv(finished.folder / "zoo" / "roster.csv")
    table = all_tables(smoke, zoo, records)["suspects"]
    suspects = {m.name for m in roster(smoke) if m.role == "suspect"}
    assert set(table["suspect"]) == suspects
    assert set(table["verdict"]) == {"undecided"}  # the zoo is too small for anything else
    known = table.dropna(subset="p-value")
    assert (known["p-value (Holm)"] >= known["p-value"]).all()


def test_a_finished_run_is_not_done_again(finished):
    def times():
        files = [*finished.folder.rglob("*.safetensors"), *finished.folder.rglob("*.h5")]
        return {file: file.stat().st_mtime_ns for file in files}

    before = times()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "intellectual_property_protection.extract_fields.workers_on", lambda device: 1
        )
        patch.setattr(
            "intellectual_property_protection.comparing.victim_comparison.gradient_field", None
        )
        extract_fields(finished)
        assert times() == before


def test_a_lost_comparison_is_made_again(finished, smoke, tmp_path):
    run = open_protection_run(tmp_path)
    shutil.copytree(finished.folder, run.folder, dirs_exist_ok=True)
    member = roster(smoke)[3]
    path = comparison_path(run, member)
    before = path.read_bytes()
    path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "intellectual_property_protection.extract_fields.workers_on", lambda device: 1
        )
        extract_fields(run)
    assert path.read_bytes() == before


def test_publishing_fills_the_sections_a_page_has(finished, records, tmp_path, monkeypatch):
    here = tmp_path / "testbed"
    (tmp_path / "assets").mkdir()
    here.mkdir()
    page = here / "README.md"
    monkeypatch.setattr(publishing, "HERE", here)
    page.write_text("nothing here\n")
    with pytest.raises(ValueError, match="has no section for smoke conditions"):
        publishing.publish(finished)
    page.write_text(
        "# Page\n\n<!-- begin smoke attacks -->\nold\n<!-- end smoke attacks -->\n\nend\n"
    )
    publishing.publish(finished)
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("# Page\n")
    assert text.endswith("end\n")
    assert "| finetune_last |" in text
    copied = here / "results" / "smoke" / "seed0" / "records.csv"
    assert copied.read_bytes() == (finished.folder / "records.csv").read_bytes()
    assert (tmp_path / "assets" / "smoke_curve.png").exists()
    shutil.rmtree(here / "results")


def record_frame(rows):
    columns = ["method", "subject", "quantity", "value", "n"]
    return pd.DataFrame(rows, columns=columns)


def test_the_goal_is_met_only_by_scores_that_do_not_leak_and_know_every_attack():
    rows = [
        (method, attack, quantity, value, 4)
        for method, of in {
            "good@random": {"prune": 0.97, "extract": 0.96},
            "poor@random": {"prune": 1.0, "extract": 0.8},
            "best@random/gap/paper": {"prune": 1.0, "extract": 1.0},
            "labels@random": {"prune": 1.0},
        }.items()
        for attack, value in of.items()
        for quantity in ("auc_matched", "auc_kind")
    ]
    frame = record_frame(rows)
    table = goal_table(frame)
    assert table["score"].tolist() == ["good@random", "poor@random"]
    assert table["worst attack"].tolist() == ["extract", "extract"]
    assert table.iloc[:, -1].tolist() == ["yes", "no"]
    methods = method_table(frame)
    assert methods["score"].tolist()[0] in ("best@random/gap/paper", "labels@random")
    assert dict(zip(methods["score"], methods["leaks"], strict=True)) == {
        "best@random/gap/paper": "leaks",
        "labels@random": "",
        "good@random": "",
        "poor@random": "",
    }


def test_a_score_is_confirmed_by_its_worst_zoo_and_only_where_every_zoo_has_it():
    goals = {
        "seed0": pd.DataFrame(
            {"score": ["a", "b", "c"], "its AUC, same architecture": [1, 0.9, 1]}
        ),
        "seed1": pd.DataFrame({"score": ["b", "a"], "its AUC, same architecture": [0.96, 0.7]}),
    }
    table = confirmed_table(goals)
    assert table.to_dict("list") == {
        "score": ["b", "a"],
        "worst AUC, seed0": [0.9, 1],
        "worst AUC, seed1": [0.96, 0.7],
        "worst of all": [0.9, 0.7],
    }


def test_false_positives_are_counted_with_wilsons_interval():
    rate = "false_positive_rate_matched"
    frame = record_frame([("a", "honest suspects", rate, 0.1, 20)])
    (row,) = honest_table(frame, ["a"]).to_dict("records")
    assert row == {
        "honest models": "honest suspects",
        "calibration": "matched",
        "a": "2 of 20 (0.03–0.30)",
    }


def test_verdicts_of_several_runs_are_counted():
    first = pd.DataFrame({"made by": ["prune", "honest"], "verdict": ["derived", "undecided"]})
    second = pd.DataFrame({"made by": ["prune", "honest"], "verdict": ["derived", "derived"]})
    assert verdict_table([first, second]).to_dict("records") == [
        {"suspects made by": "honest", "derived": 1, "independent": 0, "undecided": 1},
        {"suspects made by": "prune", "derived": 2, "independent": 0, "undecided": 0},
    ]


def test_the_papers_table_is_the_published_one():
    paper = pd.read_csv(PAPER).set_index("attack")
    assert (paper["ModelGiF"] == 1).all()
    assert paper.loc["Extract-Adv", ["IPGuard", "SAC"]].tolist() == [0.54, 0.92]
    assert paper.loc["Transfer-A", ["IPGuard", "CAE", "EWE"]].isna().all()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("refrences.count=3", "references"),
        ("references.count=0", "greater than or equal to 1|greater than 0"),
        ("references.count=99", "count 99 exceeds the pool of 32"),
        ("references.sources=[random, noise]", "'cutmix' or 'adversarial'"),
        ("references.sources=[random, random]", "named twice"),
        ("references.sources=[random]", "is not a score"),
        ("evaluation.verdict=combnied", "Did you mean combined"),
        ("evaluation.ranked=[kl]", "kl, which is not among per_reference_methods"),
        ("evaluation.folds=1", "greater than or equal to 2"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(IPPConfig, f"{CONFIGS}/smoke.yaml", [override])


def test_the_status_of_a_finished_run_misses_no_file(finished):
    stages = stages_of(finished)
    assert [path for stage in stages for path in stage.missing] == []
    assert all(stage.made for stage in stages)
