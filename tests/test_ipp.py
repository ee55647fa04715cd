"""The testbed of intellectual property protection."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.evaluate import evaluate
from intellectual_property_protection.extract_fields import extract_fields
from intellectual_property_protection.measure import attack_measurements, suspect_measurements
from intellectual_property_protection.plot import plot
from intellectual_property_protection.tables import verdict_table
from intellectual_property_protection.train import checkpoint_path, train
from intellectual_property_protection.zoo import Member, roster
from modelgif.experiment.config import ConfigError, load_config
from modelgif.experiment.record import read_records
from modelgif.experiment.run import open_run
from modelgif.loading import load_model

CONFIGS = "intellectual_property_protection/configs"


@pytest.fixture(scope="module")
def smoke():
    return load_config(IPPConfig, f"{CONFIGS}/smoke.yaml")


@pytest.fixture(scope="module")
def finished(smoke, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    run = open_run(smoke, testbed="intellectual_property_protection", name="smoke", root=root)
    for stage in (train, extract_fields, evaluate, plot):
        stage(run)
    return run


def test_the_roster_is_what_the_configuration_asks_for(smoke):
    members = roster(smoke)
    assert members[0] == Member("victim-convnet-0", "victim", "scratch", "convnet")
    assert len({m.name for m in members}) == len(members) == 11
    derived = [m for m in members if m.is_derived]
    assert {m.attack for m in derived} == {
        "finetune_all",
        "finetune_last",
        "prune",
        "extract_label",
        "extract_probability",
    }


def test_the_stages_leave_what_the_design_promises(finished):
    expected = {
        "config.yaml",
        "distances.csv",
        "records.csv",
        "results.xlsx",
        "figures/heat_map.png",
        "figures/similarity_tree.png",
        "figures/distances.png",
        "figures/roc.png",
        "zoo/roster.csv",
    }
    assert all((finished.folder / name).stat().st_size > 0 for name in expected)
    assert not list(finished.folder.rglob("*.part"))


def test_distances_agree_with_the_records_and_with_themselves(finished):
    matrix = pd.read_csv(finished.folder / "distances.csv", index_col="model")
    values = matrix.to_numpy()
    assert np.array_equal(values, values.T)
    assert not np.diag(values).any()
    records = read_records(finished.folder / "records.csv")
    ours = records[
        (records["method"] == "modelgif") & (records["quantity"] == "distance_to_victim")
    ].set_index("subject")["value"]
    victim = matrix.index[0]
    np.testing.assert_allclose(ours, matrix.loc[ours.index, victim], atol=1e-12)


def test_the_workbook_is_made_from_the_csv_files(finished):
    book = pd.read_excel(finished.folder / "results.xlsx", sheet_name=None)
    records = pd.read_csv(finished.folder / "records.csv")
    np.testing.assert_allclose(book["records"]["value"], records["value"], rtol=1e-12)
    assert list(book) == ["suspects", "attacks", "distances", "roster", "records", "conditions"]


def test_members_are_what_their_recipe_says(finished, smoke):
    networks = {
        m.name: load_model(f"file:{checkpoint_path(finished, m)}").state_dict()
        for m in roster(smoke)
    }
    by_recipe = {m.recipe: networks[m.name] for m in roster(smoke) if m.is_derived}
    victim = networks[roster(smoke)[0].name]

    changed = [k for k, v in victim.items() if not v.equal(by_recipe["finetune_last"][k])]
    assert changed
    assert all("head" in name for name in changed)
    assert all(not v.equal(by_recipe["finetune_all"][k]) for k, v in victim.items())
    weights = [v for k, v in by_recipe["prune"].items() if k.endswith("weight")]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert zeros == pytest.approx(0.5, abs=0.01)


def test_a_finished_run_is_not_done_again(finished):
    def times():
        files = [*finished.folder.rglob("*.safetensors"), *finished.folder.rglob("*.h5")]
        return {file: file.stat().st_mtime_ns for file in files}

    before = times()
    train(finished)
    extract_fields(finished)
    assert times() == before


def test_a_lost_model_is_made_again_to_the_same_bytes(finished, smoke):
    member = next(m for m in roster(smoke) if m.recipe == "extract_probability")
    path = checkpoint_path(finished, member)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    shutil.move(path, path.with_suffix(".moved"))
    train(finished)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


ZOO = [
    Member("victim", "victim", "scratch", "a"),
    Member("stolen-a", "suspect", "prune", "a", 0.5),
    Member("stolen-b", "suspect", "prune", "b", 0.5),
    Member("honest-a", "suspect", "scratch", "a"),
    *[Member(f"ind-a{i}", "independent", "scratch", "a") for i in range(3)],
    *[Member(f"ind-b{i}", "independent", "scratch", "b") for i in range(3)],
]
# Architecture b is far from the victim whatever its origin.
DISTANCE = {"stolen-a": 0.1, "stolen-b": 0.7, "honest-a": 0.3} | {
    name: value
    for i in range(3)
    for name, value in ((f"ind-a{i}", (2 + i) / 10), (f"ind-b{i}", 0.8 + i / 100))
}


def test_attacks_on_made_up_distances():
    found = {(m.subject, m.quantity): m for m in attack_measurements(ZOO, DISTANCE)}
    assert found["prune", "auc_matched"].value == 1
    # stolen-a is nearer than all 7 negatives, stolen-b than the 3 of its own architecture only.
    assert found["prune", "auc_pooled"].value == pytest.approx((7 + 3) / 14)
    assert found["prune", "auc_matched"].n == 2
    assert found["prune", "n_negatives"].value == 7
    assert 0 < found["prune", "auc_matched_low"].value < 1
    assert found["prune", "tpr_at_5_percent_fpr"].value == 0.5


def test_verdicts_of_several_runs_are_counted():
    first = pd.DataFrame({"made by": ["prune", "honest"], "verdict": ["derived", "undecided"]})
    second = pd.DataFrame({"made by": ["prune", "honest"], "verdict": ["derived", "derived"]})
    assert verdict_table([first, second]).to_dict("records") == [
        {"suspects made by": "honest", "derived": 1, "independent": 0, "undecided": 1},
        {"suspects made by": "prune", "derived": 2, "independent": 0, "undecided": 0},
    ]


def test_p_values_rest_on_independents_of_the_same_architecture():
    found = {m.subject: (m.value, m.n) for m in suspect_measurements(ZOO, DISTANCE)}
    assert found == {"stolen-a": (0.25, 3), "stolen-b": (0.25, 3), "honest-a": (0.75, 3)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("zoo.0.role=thief", "'victim', 'suspect' or 'independent'"),
        ("zoo.0.recipe=prune", "ratios belong to the recipe prune"),
        ("zoo.1.architectures=[vgg]", "keeps the victim's architecture convnet"),
        ("zoo.0.count=2", "exactly one victim"),
        ("refrences.count=3", "references"),
        ("references.count=0", "greater than or equal to 1|greater than 0"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(IPPConfig, f"{CONFIGS}/smoke.yaml", [override])


@pytest.mark.parametrize("path", sorted(Path(CONFIGS).glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_loads(path):
    config = load_config(IPPConfig, path)
    assert roster(config)[0].role == "victim"
