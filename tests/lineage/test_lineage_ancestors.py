"""Aligned weights, changes from an ancestor, and common seeds."""

import copy
import itertools

import numpy as np
import pytest
import torch
from lineage_networks import ARCHITECTURES, train, trained, tuned
from torch import nn

from modelgif.lineage import (
    USUAL_SEEDS,
    aligned_similarity,
    change_similarity,
    common_seed,
    nearest_ancestor,
    origin_test,
    permuted_units,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def victims():
    return {name: trained(name, init=1, seed=1) for name in ("convnet", "resnet")}


def rescaled(network):
    """The convnet with each hidden unit times a factor that the next layer undoes."""
    copied = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    layers = [*(copied.features[i] for i in (0, 2, 4)), copied.head]
    with torch.no_grad():
        for here, following in itertools.pairwise(layers):
            factor = torch.rand(len(here.weight), generator=generator).mul(3).sub(1.5).exp()
            here.weight *= factor.view(-1, *[1] * (here.weight.ndim - 1))
            here.bias *= factor
            following.weight /= factor.view(1, -1, *[1] * (following.weight.ndim - 2))
    return copied


def test_permuted_and_rescaled_units_evade_the_test_and_are_aligned(victims):
    network = victims["convnet"]
    thief = permuted_units(rescaled(tuned(network, seed=4, lr=0.01)))
    assert origin_test(network, thief).log10_p > -3
    found = aligned_similarity(network, thief)
    assert found.similarity > 0.9
    assert found.moved > 0.8
    exact = aligned_similarity(network, permuted_units(rescaled(network)))
    assert exact.similarity > 0.999
    assert all(layer.cosine > 0.99 for layer in exact.layers)


def test_independent_networks_are_less_alike(victims):
    found = aligned_similarity(victims["convnet"], trained("convnet", init=5, seed=1))
    assert found.similarity < 0.5
    assert found.distance == 1 - found.similarity
    assert "after alignment" in str(found)
    assert {row["layer"] for row in found.table()} >= {"features.0.weight", "head.weight"}


def test_residual_networks_are_aligned(victims):
    found = aligned_similarity(victims["resnet"], permuted_units(victims["resnet"]))
    assert found.similarity > 0.999


def test_the_order_found_is_the_order_taken(victims):
    network = victims["convnet"]
    found = aligned_similarity(network, permuted_units(network))
    moved = permuted_units(network)
    order = found.orders["features.0.weight"]
    assert torch.equal(
        moved.features[0].weight[torch.from_numpy(order)], network.features[0].weight
    )


def test_aligned_by_activations(victims):
    network = victims["convnet"]
    references = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    thief = permuted_units(rescaled(network))
    found = aligned_similarity(network, thief, references=references, n_random=0)
    assert found.similarity > 0.999
    with pytest.raises(ValueError, match="references need two modules"):
        aligned_similarity(network, thief.state_dict(), references=references)


def test_a_state_dict_is_aligned_by_the_other_models_units(victims):
    state = permuted_units(victims["convnet"]).state_dict()
    assert aligned_similarity(victims["convnet"], state).similarity > 0.999


@pytest.fixture(scope="module")
def family():
    torch.manual_seed(11)
    ancestor = train(ARCHITECTURES["convnet"](1, 2), seed=11, epochs=8, parity=True)

    def descendant(seed):
        network = copy.deepcopy(ancestor)
        torch.manual_seed(seed)
        network.head = nn.Linear(48, 10)
        return train(network, seed=seed, lr=0.03, epochs=5)

    victim = descendant(1)
    thief = tuned(victim, seed=2, lr=0.01, epochs=2)
    return {"ancestor": ancestor, "victim": victim, "thief": thief, "honest": descendant(3)}


def test_a_thief_keeps_the_victims_changes(family):
    thief = change_similarity(family["victim"], family["thief"], family["ancestor"])
    honest = change_similarity(family["victim"], family["honest"], family["ancestor"])
    assert thief.cosine > honest.cosine + 0.15
    assert thief.median > honest.median + 0.15
    assert thief.cosine > 0.6
    # All of them share an origin, so the test of it cannot tell the two apart.
    for name in ("thief", "honest"):
        assert origin_test(family["victim"], family[name]).log10_p < -20


def test_changes_by_hand():
    ancestor = {"0.weight": torch.zeros(2, 2), "1.weight": torch.zeros(1, 2)}
    victim = {"0.weight": torch.eye(2), "1.weight": torch.tensor([[3.0, 4.0]])}
    suspect = {"0.weight": -torch.eye(2), "1.weight": torch.tensor([[4.0, 3.0]])}
    found = change_similarity(victim, suspect, ancestor)
    assert [layer.cosine for layer in found.layers] == pytest.approx([-1, 24 / 25])
    assert found.cosine == pytest.approx((-2 + 24) / 27)
    assert found.median == pytest.approx((-1 + 24 / 25) / 2)
    assert found.table()[1]["weights"] == 2
    assert "cosine of the changes 0.815" in str(found)


def test_other_heads_and_frozen_layers_are_left_out_and_named(family):
    suspect = copy.deepcopy(family["thief"])
    suspect.head = nn.Linear(48, 3)
    suspect.features[0].load_state_dict(family["ancestor"].features[0].state_dict())
    found = change_similarity(family["victim"], suspect, family["ancestor"])
    reasons = {left.name: left.reason for left in found.left_out}
    assert reasons["features.0.weight"] == "not changed in the suspect"
    assert "[10, 48], [3, 48], [2, 48]" in reasons["head.weight"]
    assert len(found.layers) == 4


def test_without_changes_there_is_nothing_to_compare(family):
    ancestor = family["ancestor"]
    with pytest.raises(ValueError, match="the victim must have changed"):
        change_similarity(copy.deepcopy(ancestor), family["thief"], ancestor)
    with pytest.raises(ValueError, match="the suspect must have changed"):
        change_similarity(family["victim"], copy.deepcopy(ancestor), ancestor)


def test_the_nearest_ancestor_is_named(family):
    candidates = {
        "stranger": trained("convnet", init=70, seed=1),
        "grandparent": family["ancestor"],
        "parent": family["victim"],
        "other": ARCHITECTURES["vgg"](1, 10),
    }
    found = nearest_ancestor(family["thief"], candidates)
    assert found.name == "parent"
    assert found.log10_p < -20
    assert [row["ancestor"] for row in found.table][:2] == ["parent", "grandparent"]
    none = nearest_ancestor(family["thief"], {"stranger": candidates["stranger"]})
    assert none.name is None
    assert "none of 1 candidates" in str(none)
    with pytest.raises(ValueError, match="at least one network"):
        nearest_ancestor(family["thief"], {})


def test_usual_seeds():
    assert set(range(100)) | {123, 1234, 1337, 2020, 2026, 3407, 31337} <= set(USUAL_SEEDS)
    assert len(set(USUAL_SEEDS)) == len(USUAL_SEEDS)


def test_a_common_seed_is_found_after_training():
    def build(num_classes: int = 10) -> nn.Module:
        return ARCHITECTURES["convnet"](1, num_classes)

    seeds = (*range(20), 1337)
    found = common_seed(trained("convnet", init=1337, seed=5), build, seeds=seeds)
    assert found.seed == 1337
    assert found.log10_p < -20
    assert found.n_tried == 2 * len(seeds)
    none = common_seed(trained("convnet", init=424_243, seed=5), build, seeds=seeds)
    assert none.seed is None
    assert none.log10_p == 0
    # Training set the state; the search itself leaves it.
    state = torch.random.get_rng_state()
    common_seed(trained_once(), build, seeds=[3])
    assert torch.equal(state, torch.random.get_rng_state())


def trained_once() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return trained("convnet", init=3, seed=5)


def test_the_number_of_classes_is_tried():
    def build(num_classes: int = 1000) -> nn.Module:
        # The head is drawn first, so that what follows depends on its size.
        head = nn.Linear(16, num_classes)
        return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), head)

    torch.manual_seed(42)
    found = common_seed(build(7), build, seeds=[41, 42])
    assert (found.seed, found.num_classes, found.n_tried) == (42, 7, 4)
    assert "seed 42, 7 classes" in str(found)


def test_torchvisions_resnet18_of_seed_42():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(42)
    network = torchvision.models.resnet18(num_classes=10)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.5 * parameter.std().nan_to_num() * torch.randn_like(parameter)
    found = common_seed(network, torchvision.models.resnet18, seeds=[41, 42])
    assert (found.seed, found.num_classes) == (42, 10)
    assert found.log10_p < -100


def test_seeds_must_be_given():
    with pytest.raises(ValueError, match="at least one number"):
        common_seed(nn.Linear(3, 2), lambda: nn.Linear(3, 2), seeds=[])


def test_orders_are_permutations(victims):
    found = aligned_similarity(victims["resnet"], trained("resnet", init=8, seed=1))
    for order in found.orders.values():
        assert sorted(order) == list(np.arange(len(order)))
