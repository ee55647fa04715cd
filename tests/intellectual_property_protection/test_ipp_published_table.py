"""The authors' published distances give the authors' published table."""

import pandas as pd
import pytest

from intellectual_property_protection.tables.published_distances import DISTANCES, published_table

ATTACKS = {
    "AUC_P": "extract_probability",
    "AUC_L": "extract_label",
    "AUC_Finetune": "finetune_all",
    "AUC_Prune": "fine_prune",
    "AUC_Adv": "extract_adversarial",
    "AUC_100": "transfer_cifar100",
    "AUC_10C": "transfer_cifar10c",
}


def test_the_distances_are_those_of_the_golden_file(golden):
    pd.testing.assert_frame_equal(pd.read_csv(DISTANCES), pd.read_csv(golden / "ipp_distances.csv"))


def test_every_published_auc_is_met(golden):
    ours = published_table().set_index("attack")
    published = pd.read_csv(golden / "ipp_auc.csv")
    assert len(published) == 42
    for row in published.to_dict("records"):
        value = ours.loc[ATTACKS[row["auc_name"]], f"{row['reference_points']} references"]
        # The distances were printed with four decimals, which makes ties.
        assert value == pytest.approx(row["auc_logged"], abs=1.3e-3)
        assert value == pytest.approx(row["auc_recomputed"], abs=1e-12)


def test_counts_are_the_papers():
    counts = published_table().set_index("attack")[["models", "negatives"]]
    assert counts.loc["fine_prune"].tolist() == [15, 20]
    assert counts.loc["transfer_cifar10c"].tolist() == [10, 10]
    assert counts["models"].sum() == 115
