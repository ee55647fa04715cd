"""The zoo of the testbed of intellectual property protection: roster, recipes, making."""

import copy
import hashlib
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.models.build import ModelBuilder
from intellectual_property_protection.models.data_splits import halves, regrouped, transfer_data
from intellectual_property_protection.recipes import OWN_RECIPES
from intellectual_property_protection.train import checkpoint_path, train
from intellectual_property_protection.zoo import in_turns, roster
from modelgif.data.data import load_data
from modelgif.experiment.config import ConfigError, load_config
from modelgif.experiment.networks import network_address
from modelgif.experiment.run import open_run
from modelgif.experiment.training import predict
from modelgif.loading.checkpoint import read_card
from modelgif.loading.load import load_model
from tests.support.protection_run import open_protection_run

CONFIGS = "intellectual_property_protection/configs"


def config_of(name, *overrides):
    return load_config(IPPConfig, f"{CONFIGS}/{name}.yaml", overrides)


@pytest.fixture(scope="module")
def smoke():
    return config_of("smoke", "device=cpu")


@pytest.fixture(scope="module")
def made(protection_zoo):
    """The run of the smoke configuration, and its models by name."""
    run = open_protection_run(protection_zoo)
    return run, {m.name: load_model(f"file:{checkpoint_path(run, m)}") for m in roster(run.config)}


@pytest.fixture(scope="module")
def builder(smoke):
    data = load_data("digits")
    parts = halves(smoke, data)
    other = transfer_data(smoke, parts["other"])
    return ModelBuilder(smoke.recipes, smoke.seed, data, parts, other, torch.device("cpu"))


def state(model):
    return model.network.state_dict()


# ---- the roster


def test_the_smoke_roster_has_every_recipe(smoke):
    members = roster(smoke)
    assert members[0].name == "victim-convnet-0"
    assert members[0].data == "victim"
    missing = set(OWN_RECIPES) - {m.recipe for m in members}
    assert not missing, f"{CONFIGS}/smoke.yaml has no group of the recipes {missing}: add one each"
    assert {m.role for m in members} == {"victim", "suspect", "independent", "surrogate"}


def test_derived_means_made_from_the_victim(smoke):
    for member in roster(smoke):
        assert member.is_derived == (member.parent == "victim-convnet-0")
        assert member.attack == (member.recipe if member.is_derived else "none")
        assert (member.parent is None) == (member.recipe in ("scratch", "adversarial"))
        assert (member.training == "adversarial") == member.recipe.endswith("adversarial")
        assert (member.label_set == "transfer") == member.recipe.startswith("transfer")


def test_parents_are_made_before_their_children(smoke):
    members = roster(smoke)
    turns = in_turns(members)
    assert sorted(m.name for turn in turns for m in turn) == sorted(m.name for m in members)
    known = set()
    for turn in turns:
        assert all(m.parent is None or m.parent in known for m in turn)
        known |= {m.name for m in turn}
    by_name = {m.name: m for m in members}
    parents = [by_name[m.parent] for m in members if m.parent and m.role == "independent"]
    assert parents
    assert all((p.role, p.recipe, p.data) == ("independent", "scratch", "other") for p in parents)


def test_the_small_zoo_can_support_a_verdict():
    members = roster(config_of("small"))
    by_name = {m.name: m for m in members}
    suspects = [m for m in members if m.role == "suspect"]
    independents = [m for m in members if m.role == "independent" and m.data == "other"]
    assert len({m.architecture for m in members}) == 4
    for attack in {m.attack for m in suspects if m.is_derived}:
        assert sum(m.attack == attack for m in suspects) == 8
    assert sum(not m.is_derived for m in suspects) == 12
    for suspect in suspects:
        alike = [
            m
            for m in independents
            if (m.architecture, m.training, m.label_set)
            == (suspect.architecture, suspect.training, suspect.label_set)
        ]
        # With 19, a p-value can reach 0.05.
        assert len(alike) == 19
    # The models derived from independents have as many parents as there are.
    children = [m for m in independents if m.recipe == "transfer_all"]
    assert len({m.parent for m in children}) == len(children) == 10
    assert {by_name[m.parent].architecture for m in independents if m.parent} == {"vgg"}


PAPER = {  # models of each kind in the paper
    ("suspect", "extract_probability"): 20,
    ("suspect", "extract_label"): 20,
    ("suspect", "extract_adversarial"): 20,
    ("suspect", "fine_prune"): 15,
    ("suspect", "finetune_all"): 10,
    ("suspect", "finetune_last"): 10,
    ("suspect", "transfer"): 20,
    ("independent", "source"): 20,
    ("independent", "transfer"): 20,
}


@pytest.mark.parametrize("name", ["cuda", "paper"], ids="config-{}".format)
def test_the_papers_155_models(name):
    members = [m for m in roster(config_of(name)) if m.role in ("suspect", "independent")]
    counts = dict.fromkeys(PAPER, 0)
    for m in members:
        labels = "source" if m.label_set == "source" else "transfer"
        kind = "transfer" if m.recipe.startswith("transfer") else m.recipe
        counts[m.role, kind if m.role == "suspect" else labels] += 1
    assert counts == PAPER
    assert len(members) == 155


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("zoo.4.ratios=[]", "ratios belong to the recipes prune and fine_prune"),
        ("zoo.1.ratios=[0.5]", "ratios belong to the recipes prune and fine_prune"),
        ("zoo.12.parent=victim", "made by scratch has no parent"),
        ("zoo.11.recipe=scratch", "a surrogate is made from the victim"),
        ("zoo.15.parent=victim", "give finetune_all the parent independent, or the role suspect"),
        ("zoo.1.parent=independent", "has the role independent, too"),
        ("zoo.5.data=victim", "only independent models learn the victim's data"),
        ("zoo.16.data=victim", "no data of the victim"),
        ("zoo.15.label_set=transfer", "keeps the label set source"),
        ("zoo.0.label_set=transfer", "the victim is made from scratch, on its own data"),
        ("zoo.15.architectures=[vgg]", "needs an independent parent of the architecture vgg"),
        ("recipes.adversarial=null", "adversarial needs recipes.adversarial"),
        ("recipes.transfer=null", "transfer_all needs recipes.transfer"),
        ("transfer=null", "needs transfer: its groups of labels or its data"),
        ("transfer.groups=[]", "either groups of labels or other data"),
        ("transfer.groups=[[0, 1], [1, 2]]", "hold no label twice"),
        ("published={root: data}", "leave out zoo, recipes, transfer"),
        ("recipes=null", "needs recipes, unless it is a published one"),
        ("zoo.3.recipe=transfer", "did you mean transfer_all"),
    ],
)
def test_a_zoo_that_makes_no_sense_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        config_of("smoke", override)


def test_two_models_of_one_name_are_refused(smoke):
    twice = smoke.model_copy(update={"zoo": (*smoke.zoo, smoke.zoo[1])})
    with pytest.raises(ValueError, match="names finetune_all-convnet-0 twice"):
        roster(twice)


def test_a_new_group_gives_no_other_model_another_parent(smoke):
    more = load_config(IPPConfig, f"{CONFIGS}/small.yaml")
    fewer = more.model_copy(update={"zoo": tuple(g for g in more.zoo if g.recipe != "prune")})
    kept = {m.name: m for m in roster(fewer)}
    assert len(kept) == len(roster(more)) - 10
    assert all(kept.get(m.name, m) == m for m in roster(more))


# ---- data


def rows_of(data):
    return {image.numpy().tobytes() for image in data.train_images}


def test_halves_are_disjoint_and_whole(smoke):
    data = load_data("digits")
    parts = halves(smoke, data)
    victim, other = rows_of(parts["victim"]), rows_of(parts["other"])
    assert not victim & other
    assert len(victim) + len(other) == len(data.train_images) == 1347
    fewer = halves(smoke.model_copy(update={"n_training_images": 101}), data)
    assert [len(part.train_labels) for part in fewer.values()] == [50, 51]
    assert not rows_of(fewer["victim"]) & rows_of(fewer["other"])
    with pytest.raises(ValueError, match="at most 1347, the training images of digits, got 2000"):
        halves(smoke.model_copy(update={"n_training_images": 2000}), data)


def test_every_member_learns_its_half(builder, smoke):
    victim, other = (rows_of(builder.halves[name]) for name in ("victim", "other"))
    for member in roster(smoke):
        learnt = rows_of(builder.data_of(member))
        assert learnt == (victim if member.data == "victim" else other)


def test_regrouped_labels(builder):
    data = builder.data
    found = regrouped(data, [[1, 7], [4]])
    kept = torch.isin(data.train_labels, torch.tensor([1, 4, 7]))
    assert torch.equal(found.train_images, data.train_images[kept])
    assert found.train_labels.tolist() == [int(y == 4) for y in data.train_labels[kept].tolist()]
    assert found.classes == ("1+7", "4")
    with pytest.raises(ValueError, match="labels of digits are 0 to 9, got 10"):
        regrouped(data, [[1], [10]])


def test_a_transfer_to_other_data(smoke):
    config = config_of("smoke", "transfer={data: {name: photos, size: 8}}")
    other = halves(smoke, load_data("digits"))["other"]
    with pytest.raises(ValueError, match=r"\[3, 8, 8\] must have the shape \[1, 8, 8\]"):
        transfer_data(config, other)
    photos = load_data("photos", size=8)
    assert transfer_data(config, photos).sha256() == photos.sha256()
    few = config.model_copy(update={"n_training_images": 300})
    found = transfer_data(few, halves(few, photos)["other"])
    assert found.classes == photos.classes
    assert len(found.train_labels) == 150


# ---- recipes


def test_cards_say_what_the_models_are(made, smoke, builder):
    run, models = made
    victim = predict(models["victim-convnet-0"], builder.data.test_images).argmax(1)
    for member in roster(smoke):
        card = read_card(checkpoint_path(run, member))
        assert (card["role"], card["recipe"], card["parent"], card["half"], card["label_set"]) == (
            *(member.role, member.recipe, member.parent, member.data, member.label_set),
        )
        data = builder.data_of(member)
        classes = predict(models[member.name], data.test_images).argmax(1)
        assert card["n_classes"] == len(data.classes)
        assert card["accuracy"] == (classes == data.test_labels).double().mean().item()
        agreement = (classes == victim).double().mean().item()
        assert card["agreement_with_victim"] == (
            agreement if member.label_set == "source" else None
        )
        assert 0 <= card["robust_accuracy"] <= 1
    table = pd.read_csv(run.folder / "zoo" / "roster.csv")
    assert table["model"].tolist() == [m.name for m in roster(smoke)]
    assert table["agreement_with_victim"].isna().sum() == 3


@pytest.mark.parametrize("recipe", ["finetune_last", "transfer_last"])
def test_only_the_last_layer_changes(made, recipe):
    _, models = made
    victim, model = state(models["victim-convnet-0"]), state(models[f"{recipe}-convnet-0"])
    changed = {k for k in victim if k not in model or victim[k].shape != model[k].shape} | {
        k for k in victim if victim[k].shape == model[k].shape and not victim[k].equal(model[k])
    }
    assert changed == {"head.weight", "head.bias"}


@pytest.mark.parametrize("recipe", ["finetune_all", "transfer_all"])
def test_all_layers_change_a_little(made, recipe):
    _, models = made
    victim, model = state(models["victim-convnet-0"]), state(models[f"{recipe}-convnet-0"])
    stranger = state(models["independent-convnet-0"])
    for name in victim:
        if name.startswith("features"):
            assert not victim[name].equal(model[name])
            near = (victim[name] - model[name]).norm()
            assert near < (victim[name] - stranger[name]).norm()


def test_a_finetuned_independent_is_near_its_parent(made, smoke):
    _, models = made
    child = next(m for m in roster(smoke) if m.name == "independent_finetune_all-convnet-0")
    weights = [state(models[n])["features.2.weight"] for n in (child.name, child.parent)]
    stranger = state(models["victim-convnet-0"])["features.2.weight"]
    assert (weights[0] - weights[1]).norm() < (weights[0] - stranger).norm() / 2


def test_transferred_models_answer_with_the_other_labels(made, builder):
    _, models = made
    images = builder.data.test_images
    for name in ("transfer_all-convnet-0", "transfer_last-convnet-0"):
        assert predict(models[name], images).shape == (len(images), 2)
    parity = builder.data.test_labels % 2
    right = predict(models["transfer_all-convnet-0"], images).argmax(1) == parity
    assert right.double().mean() > 0.6


def test_the_pruned_weights_stay_zero(made):
    _, models = made
    weights = [v for k, v in state(models["prune50-convnet-0"]).items() if k.endswith("weight")]
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert zeros == pytest.approx(0.5, abs=1e-3)


def test_the_least_active_channels_are_gone(made, builder):
    _, models = made
    victim = models["victim-convnet-0"]
    seen = builder.halves["other"].train_images[:500]
    with torch.no_grad():
        maps = victim.network.features[:-1]((seen - victim.mean) / victim.std).double()
    activity = [maps[:, c].clamp(min=0).mean().item() for c in range(48)]
    quietest = sorted(range(48), key=lambda c: activity[c])[:12]
    weight = state(models["fine_prune25-convnet-0"])["features.4.weight"]
    gone = [c for c in range(48) if not weight[c].any()]
    assert gone == sorted(quietest)


def test_extraction_learns_the_parents_answers(builder, smoke):
    class Always3(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            logits = torch.zeros(len(x), 10)
            logits[:, 3], logits[:, 5] = 5.0, 4.0
            return logits

    images = builder.data.test_images
    member = next(m for m in roster(smoke) if m.recipe == "extract_label")
    by_recipe = {}
    for recipe in ("extract_label", "extract_probability", "extract_adversarial"):
        model = builder.build(replace(member, recipe=recipe), Always3())
        by_recipe[recipe] = predict(model, images).softmax(1).mean(0)
        assert (predict(model, images).argmax(1) == 3).double().mean() > 0.95
    asked = Always3()(torch.zeros(1, 1)).softmax(1)[0]
    assert by_recipe["extract_probability"] == pytest.approx(asked, abs=0.1)
    assert by_recipe["extract_label"][5] < 0.1 < asked[5]


def test_adversarial_training_makes_robust(made, smoke):
    run, _ = made
    by_recipe: dict[str, list[float]] = {}
    for member in roster(smoke):
        if member.role == "independent" and member.architecture == "convnet":
            card = read_card(checkpoint_path(run, member))
            by_recipe.setdefault(member.recipe, []).append(card["robust_accuracy"])
    assert min(by_recipe["adversarial"]) > max(by_recipe["scratch"])


def test_a_derived_model_needs_its_parent(builder, smoke):
    member = next(m for m in roster(smoke) if m.recipe == "prune")
    with pytest.raises(ValueError, match="made from victim-convnet-0: give that model"):
        builder.build(member, None)


def test_parents_are_left_as_they_were(made, builder, smoke):
    _, models = made
    victim = models["victim-convnet-0"]
    before = copy.deepcopy(state(victim))
    for member in roster(smoke):
        if member.recipe in ("prune", "fine_prune", "finetune_last", "transfer_last"):
            builder.build(member, victim)
    assert all(v.equal(before[k]) for k, v in state(victim).items())
    assert all(p.requires_grad for p in victim.parameters())


# ---- stage


def test_a_finished_zoo_is_not_made_again(made):
    run, _ = made

    def times():
        return {file: file.stat().st_mtime_ns for file in run.folder.rglob("*.safetensors")}

    before = times()
    train(run)
    assert times() == before
    assert not list(run.folder.rglob("*.part"))


def test_models_depend_neither_on_processes_nor_on_other_models(made, smoke, tmp_path, monkeypatch):
    """One process made the whole zoo; two make a part of it, and get the same bytes."""
    run, _ = made
    monkeypatch.setattr("intellectual_property_protection.train.workers_on", lambda device: 2)
    part = smoke.model_copy(update={"zoo": tuple(smoke.zoo[i] for i in (0, 4, 7, 12, 16))})
    own = open_run(part, testbed="intellectual_property_protection", name="part", root=tmp_path)
    train(own)
    members = roster(part)
    assert {m.recipe for m in members} == {
        *("scratch", "fine_prune", "extract_adversarial", "transfer_all"),
    }
    for member in members:
        digests = [
            hashlib.sha256(checkpoint_path(r, member).read_bytes()).hexdigest() for r in (run, own)
        ]
        assert digests[0] == digests[1], member.name


@pytest.mark.parametrize("path", sorted(Path(CONFIGS).glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_has_a_roster(path):
    members = roster(load_config(IPPConfig, path))
    assert members[0].role == "victim"
    assert len({m.name for m in members}) == len(members)


def test_the_networks_of_the_cuda_configuration_take_its_images():
    names = {m.architecture for m in roster(config_of("cuda"))}
    assert len(names) == 7
    for name in names:
        with torch.no_grad():
            model = load_model(network_address(name, 1, 10) + "&mean=0.3&std=0.3")
            assert model(torch.rand(2, 1, 32, 32)).shape == (2, 10)
