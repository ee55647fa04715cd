"""The authors' printed matrices through our code."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modelgif.reporting.table import to_markdown
from task_relatedness.statistics.agreement import agreement, coefficients
from task_relatedness.statistics.groups import rand_index, tree
from task_relatedness.statistics.measure import PUBLISHED
from task_relatedness.tables import published_matrices as published
from task_relatedness.tables.published_matrices import (
    draw,
    paper_figures,
    published_affinity,
    published_distances,
    published_records,
    published_table,
)
from task_relatedness.tables.tables import group_table, lead_table, retrieval_table, target_table
from task_relatedness.tasks import TASK_NAMES, TASKS


@pytest.fixture(scope="module")
def records():
    return published_records(n_bootstrap=200)


@pytest.fixture(scope="module")
def printed():
    return json.loads((Path(__file__).parents[1] / "golden" / "spearman.json").read_text())


def value(records, method, quantity, subject=PUBLISHED):
    rows = records[
        (records["method"] == method)
        & (records["quantity"] == quantity)
        & (records["subject"] == subject)
    ]
    return rows["value"].item()


@pytest.mark.parametrize("name", ["taskonomy", "modelgif"])
def test_the_files_are_the_printed_matrices(name, golden):
    shipped = Path(published.__file__).parents[1] / "results" / f"published_{name}.csv"
    assert shipped.read_bytes() == (golden / f"{name}_affinity.csv").read_bytes()


@pytest.mark.parametrize(
    ("method", "reading", "key", "sign"),
    [
        ("ModelGiF", "columns_with_diagonal", "all", -1),
        ("ModelGiF", "columns", "all_no_diagonal", -1),
        ("RSA", "columns_with_diagonal", "rsa_all", 1),
        ("RSA", "columns", "rsa_all_no_diagonal", 1),
    ],
)
def test_columns_are_as_printed(records, printed, method, reading, key, sign):
    assert value(records, method, reading) == pytest.approx(sign * printed[key]["mean"], abs=1e-12)
    for task, coefficient in printed[key]["per_task"].items():
        # Printed with eight decimals.
        own = value(records, method, f"{reading}.{task}")
        assert own == pytest.approx(sign * coefficient, abs=5.1e-9)


def test_the_authors_figure_is_met():
    distances, affinity = published_distances()["ModelGiF"], published_affinity()
    found = agreement(-distances, affinity, "columns_with_diagonal")
    assert found == pytest.approx(0.8349192618223761, abs=1e-12)
    (ours,) = paper_figures().query("method == 'ModelGiF'")["agreement"]
    assert found == pytest.approx(ours, abs=1e-12)


@pytest.mark.parametrize(("method", "key"), [("ModelGiF", "gif_other"), ("RSA", "rsa_other")])
def test_rows_and_pairs_are_as_computed_before(records, printed, method, key):
    assert value(records, method, "rows_with_diagonal") == pytest.approx(printed[key]["rows_mean"])
    assert value(records, method, "pairs") == pytest.approx(printed[key]["global_offdiag"])


def test_the_win_holds_by_columns_only_and_for_these_tasks_only(records):
    lead = {
        reading: value(records, "RSA", f"{reading}.lead")
        for reading in ("columns_with_diagonal", "columns", "rows", "pairs")
    }
    assert lead["columns_with_diagonal"] > 0.05
    assert lead["columns"] > 0.05
    assert lead["rows"] < -0.05
    assert lead["pairs"] < 0
    for reading, number in lead.items():
        low, high = (value(records, "RSA", f"{reading}.lead_{end}") for end in ("low", "high"))
        assert low < number < high
        assert low < 0 < high


def test_the_tree_is_the_published_one_and_its_branches_are_the_groups(records, golden):
    distances = published_distances()["ModelGiF"]
    linkage = json.loads((golden / "similarity_tree.json").read_text())["linkage"]
    links = tree(distances, "published")
    np.testing.assert_allclose(links, linkage, rtol=1e-9)
    assert rand_index(links, [task.group for task in TASKS]) == 1
    for group in ("2D", "3D", "Geometric", "Semantic"):
        assert value(records, "ModelGiF", f"branch.{group}", "groups") == 1
    # RSA's does not show them, and neither do the affinities in full.
    assert value(records, "RSA", "rand_published", "groups") < 0.6
    assert value(records, "affinities, Taskonomy", "rand_published", "groups") < 0.8


def test_figures_are_converted_by_what_they_are_of(tmp_path, monkeypatch):
    figures = paper_figures().set_index("method")
    assert figures.loc["ModelGiF", "printed"] < 0 < figures.loc["ModelGiF", "agreement"]
    assert (figures["agreement"] > 0).all()
    linear = figures.loc["DDS, linear (CKA), centred"]
    assert linear["agreement"] == linear["printed"] == 0.639
    wrong = tmp_path / "paper.csv"
    wrong.write_text("method,printed,of,affinities,source\nX,0.5,divergence,all_affinities,y\n")
    monkeypatch.setattr(published, "PAPER", wrong)
    with pytest.raises(ValueError, match=r"distance or similarity, got \['divergence'\]"):
        paper_figures()


def test_a_choice_of_tasks_is_a_part_of_the_matrices():
    some = (TASK_NAMES[12], TASK_NAMES[0], TASK_NAMES[5])
    at = [TASK_NAMES.index(task) for task in some]
    np.testing.assert_array_equal(published_affinity(some), published_affinity()[np.ix_(at, at)])
    whole = published_distances()["RSA"]
    assert whole[3, 3] == 0
    np.testing.assert_array_equal(published_distances(some)["RSA"], whole[np.ix_(at, at)])
    np.testing.assert_array_equal(whole, whole.T)


def test_sources_are_rows_of_the_affinities():
    # Taskonomy's best source of autoencoding is denoising, in row 2 and column 0. Were rows
    # targets, the printed coefficients by column would not be met.
    affinity = published_affinity()
    assert affinity[:, 0].argmax() == TASK_NAMES.index("denoising")
    near = -published_distances()["ModelGiF"]
    columns = coefficients(near, affinity, "columns_with_diagonal").mean()
    transposed = coefficients(near, affinity.T, "columns_with_diagonal").mean()
    assert columns > transposed + 0.3


def test_the_tables_show_what_was_measured(records):
    table = published_table(records).set_index("method")
    assert table["printed"]["ModelGiF"] == pytest.approx(0.835, abs=1e-3)
    assert table["columns, with diagonal"]["ModelGiF"].startswith("0.83 (")
    assert table["rows"]["RSA"].startswith("0.44 (")
    assert table["columns"]["DDS, cosine, z-normalised"] == ""
    assert pd.isna(table["printed"]["task groups alone"])
    assert lead_table(records, PUBLISHED)["lead over"].tolist() == ["RSA", "task groups alone"]
    targets = target_table(records, PUBLISHED).set_index("target")
    assert targets["RSA"]["edge_texture"] == pytest.approx(0.26, abs=0.01)
    found = retrieval_table(records, PUBLISHED).set_index("method")
    assert list(found) == [f"{which}@{k}" for which in "PR" for k in range(1, 6)]
    assert found["P@5"]["random order"] == found["R@5"]["random order"] == 5 / 16
    np.testing.assert_allclose(found["P@5"], found["R@5"])
    assert (found["P@3"].drop("random order") > 0.6).all()
    groups = group_table(records).set_index("method")
    assert groups["Rand index, published tree"]["ModelGiF"] == 1
    assert "| ModelGiF | 1.000 |" in to_markdown(group_table(records), digits=3)


def test_retrieval_is_counted_by_hand(records):
    near, affinity = -published_distances()["RSA"], published_affinity()
    hits = 0
    for target in range(17):
        others = [i for i in range(17) if i != target]
        best = sorted(others, key=lambda i: -affinity[i, target])[:5]
        nearest = sorted(others, key=lambda i: -near[i, target])[:3]
        hits += len({*best} & {*nearest})
    assert value(records, "RSA", "precision_at_3") == pytest.approx(hits / (3 * 17))
    assert value(records, "RSA", "recall_at_3") == pytest.approx(hits / (5 * 17))


def test_the_pictures_are_drawn_whole(tmp_path, monkeypatch):
    home = tmp_path / "task_relatedness"
    home.mkdir()
    monkeypatch.setattr(published, "HERE", home)
    draw()
    names = {path.name for path in (tmp_path / "assets").iterdir()}
    assert names == {
        "tasks_published_modelgif_heat_map.png",
        "tasks_published_modelgif_tree.png",
        "tasks_published_taskonomy_tree.png",
    }
    shutil.rmtree(tmp_path / "assets")
