import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from modelgif.data.data import load_data
from modelgif.experiment import independents
from modelgif.experiment.independents import (
    estimate_independents,
    make_independents,
    near_chance,
)
from modelgif.experiment.seeding import seeded_generator
from modelgif.experiment.starting_network import StartingNetwork, starting_network
from modelgif.experiment.training import TrainingConfig, predict, train
from modelgif.experiment.training_recipe import FineTuneRecipe, ScratchRecipe
from modelgif.loading.checkpoint import read_card, read_checkpoint, weights_sha256
from modelgif.loading.load import load_model
from modelgif.storage.atomic import DiskFullError

pytestmark = pytest.mark.slow

NETWORK = "python:modelgif.experiment.networks:convnet?in_channels=1&width=4"
RECIPE = TrainingConfig(epochs=4, learning_rate=0.02)


def with_dropout(num_classes=10):
    """A network that draws random numbers while it is trained."""
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, num_classes)
    )


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


@pytest.fixture(scope="module")
def start(digits):
    return starting_network(f"{NETWORK}&num_classes=10", digits)


@pytest.fixture(scope="module")
def made(digits, start, tmp_path_factory):
    """Three models, and the folder that holds them."""
    return make_independents(start, digits, folder_of(tmp_path_factory), count=3, recipe=RECIPE)


def folder_of(tmp_path_factory):
    return tmp_path_factory.mktemp("independents") / "new"


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_models_learn_and_their_cards_say_how(made, digits, start):
    names = [path.name for path in made.paths]
    assert names == [f"independent-00{n}.safetensors" for n in (1, 2, 3)]
    assert (made.skipped, made.untrained) == ((), ())
    cards = [read_card(path) for path in made.paths]
    assert len({card["seed"] for card in cards}) == 3
    assert len({card["weights_sha256"] for card in cards}) == 3
    for path, card in zip(made.paths, cards, strict=True):
        model = load_model(f"file:{path}")
        correct = predict(model, digits.test_images).argmax(1) == digits.test_labels
        accuracy = correct.double().mean().item()
        assert card["accuracy"] == made.accuracies[path.stem] == accuracy > 0.6
        assert card["recipe"]["epochs"] == 4
        assert card["architecture"] == start.architecture
        assert (card["parent"], card["role"], card["subset"]) == (None, "independent", 0.8)
        assert (card["data"], card["data_sha256"]) == ("digits", digits.sha256())
    frequent = digits.test_labels.bincount().max().item() / 450
    assert made.chance == cards[0]["chance"] == frequent


def test_a_model_is_what_its_card_and_plain_training_give(made, digits, start):
    card = read_card(made.paths[1])
    plan = independents.plan_independents(start, digits, "nowhere", count=3, recipe=RECIPE)
    rows = plan.training_rows(digits.train_labels, 2)
    model = start.build(card["seed"])
    order = seeded_generator(card["seed"], "order")
    train(model, digits.train_images[rows], digits.train_labels[rows], RECIPE, generator=order)
    assert weights_sha256(model) == card["weights_sha256"]


def test_each_model_learns_another_part_of_every_class(digits, start):
    plan = independents.plan_independents(start, digits, "nowhere", count=2, subset=0.25)
    parts = [plan.training_rows(digits.train_labels, number) for number in (1, 2)]
    whole = digits.train_labels.bincount()
    for rows in parts:
        assert len(rows.unique()) == len(rows) == plan.n_images
        shares = digits.train_labels[rows].bincount() / whole
        assert ((shares >= 0.25) & (shares < 0.26)).all()
    shared = len(set(parts[0].tolist()) & set(parts[1].tolist())) / plan.n_images
    assert 0.15 < shared < 0.35
    few = independents.plan_independents(start, digits, "nowhere", subset=0.0001)
    shown = digits.train_labels[few.training_rows(digits.train_labels, 1)]
    assert sorted(shown.tolist()) == [*range(10)]
    every = independents.plan_independents(start, digits, "nowhere", subset=1)
    assert every.training_rows(digits.train_labels, 1).tolist() == [*range(1347)]


def test_what_is_complete_is_skipped_and_what_is_not_is_made_again(
    made, digits, start, tmp_path, capsys
):
    before = contents(made.paths[0].parent)
    for name, content in before.items():
        if name not in ("independent-001.json", "independent-003.safetensors"):
            (tmp_path / name).write_bytes(content)
    (tmp_path / "independent-003.json").unlink()
    (tmp_path / "recipe.yaml").write_bytes(b"# my words\n" + before["recipe.yaml"])
    again = make_independents(start, digits, tmp_path, count=3, recipe=RECIPE)
    assert again.skipped == ("independent-002",)
    assert again.accuracies == made.accuracies
    after = contents(tmp_path)
    assert after.pop("recipe.yaml").startswith(b"# my words\n")
    assert after == {name: c for name, c in before.items() if name != "recipe.yaml"}
    capsys.readouterr()
    whole = make_independents(start, digits, tmp_path, count=2, recipe=RECIPE)
    assert whole.skipped == ("independent-001", "independent-002")
    assert capsys.readouterr().err == ""


def test_several_processes_get_all_they_need_for_the_same_bytes(
    made, digits, start, tmp_path, monkeypatch
):
    def elsewhere(function, items, *, workers, **_words):
        sent = pickle.dumps(function)
        assert len(sent) < 10_000
        assert workers == 2
        for item in items:
            pickle.loads(sent)(item)

    monkeypatch.setattr(independents, "for_each", elsewhere)
    make_independents(start, digits, tmp_path, count=3, recipe=RECIPE, workers=2)
    assert contents(tmp_path) == contents(made.paths[0].parent)


KILLED = """
import sys
from modelgif.data.data import load_data
from modelgif.experiment.independents import make_independents
from modelgif.experiment.starting_network import starting_network
from modelgif.experiment.training import TrainingConfig

digits = load_data("digits")
start = starting_network(sys.argv[2], digits)
recipe = TrainingConfig(epochs=4, learning_rate=0.02)
make_independents(start, digits, sys.argv[1], count=300, recipe=recipe)
"""


def test_a_killed_run_continues_to_the_same_bytes(made, digits, start, tmp_path):
    folder = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, folder, f"{NETWORK}&num_classes=10"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    ) as process:
        # Of 300 models, many are still to come.
        while not (folder / "independent-001.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    done = len(list(folder.glob("*.json")))
    assert 1 <= done < 100
    continued = make_independents(start, digits, folder, count=max(3, done), recipe=RECIPE)
    assert len(continued.skipped) == done
    after, expected = contents(folder), contents(made.paths[0].parent)
    assert {name: after[name] for name in expected} == expected
    assert not list(folder.glob("*.part"))


def test_an_ancestor_is_fine_tuned_and_a_new_head_learned(made, digits, tmp_path):
    seven = replace(
        digits,
        train_images=digits.train_images[digits.train_labels < 7],
        train_labels=digits.train_labels[digits.train_labels < 7],
        test_images=digits.test_images[digits.test_labels < 7],
        test_labels=digits.test_labels[digits.test_labels < 7],
        classes=digits.classes[:7],
    )
    address = f"file:{made.paths[0]}"
    start = starting_network(address, seven, fine_tune=True)
    recipe = TrainingConfig(epochs=6, learning_rate=0.02)
    tuned = make_independents(start, seven, tmp_path, count=2, recipe=recipe)
    ancestor, _ = read_checkpoint(made.paths[0])
    for path in tuned.paths:
        state, card = read_checkpoint(path)
        assert card["parent"] == address
        assert card["parent_sha256"] == read_card(made.paths[0])["weights_sha256"]
        assert card["replaced_layers"] == ["head"]
        assert state["head.weight"].shape == (7, 8)
        change = (state["features.0.weight"] - ancestor["features.0.weight"]).norm()
        assert 0 < change < ancestor["features.0.weight"].norm()
        assert card["accuracy"] > 0.6


def test_recipes_have_defaults(made, digits, start):
    plan = independents.plan_independents(start, digits, "nowhere")
    assert plan.recipe == ScratchRecipe()
    tuned = starting_network(f"file:{made.paths[0]}", digits, fine_tune=True)
    plan = independents.plan_independents(tuned, digits, "nowhere")
    assert plan.recipe == FineTuneRecipe()


def test_layers_with_random_numbers_are_repeatable_too(digits, tmp_path):
    start = starting_network(f"python:{__name__}:with_dropout", digits)
    recipe = TrainingConfig(epochs=1, learning_rate=0.01)
    torch.manual_seed(1)
    make_independents(start, digits, tmp_path / "a", count=2, recipe=recipe)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    make_independents(start, digits, tmp_path / "b", count=2, recipe=recipe)
    assert torch.equal(torch.get_rng_state(), state)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_models_that_did_not_learn_are_named(digits, start, tmp_path):
    recipe = TrainingConfig(epochs=1, learning_rate=1e-9)
    done = make_independents(start, digits, tmp_path, count=2, recipe=recipe)
    assert done.untrained == ("independent-001", "independent-002")


@pytest.mark.parametrize(
    ("accuracy", "chance", "n_images", "expected"),
    [
        (0.5, 0.5, 100, True),
        (0.64, 0.5, 100, True),  # within three standard errors, of 0.05 each
        (0.66, 0.5, 100, False),
        (0.54, 0.5, 10**6, True),  # significant, and nothing learned all the same
        (1.0, 0.5, 4, True),  # one in sixteen by chance
        (0.2, 0.1, 450, False),
    ],
)
def test_near_chance(accuracy, chance, n_images, expected):
    assert near_chance(accuracy, chance, n_images) is expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": TrainingConfig(epochs=5, learning_rate=0.02)}, "epochs is 4 there and 5 here"),
        ({"seed": 1}, r"independent-001.safetensors was made otherwise: seed is \d+ there and"),
        ({"subset": 0.5}, "subset is 0.8 there and 0.5 here; n_images is 1081 there and 676 here"),
        ({"start": f"{NETWORK}&num_classes=10&seed=1"}, None),
        ({"start": f"{NETWORK.replace('=4', '=5')}&num_classes=10"}, "architecture is python:"),
        ({"fine_tune": True}, "parent_sha256 is None there and"),
    ],
)
def test_models_of_another_kind_are_left_alone(made, digits, change, message):
    folder = made.paths[0].parent
    before = contents(folder)
    options = {"count": 2, "recipe": RECIPE} | change
    address = options.pop("start", f"{NETWORK}&num_classes=10")
    start = starting_network(address, digits, fine_tune=options.pop("fine_tune", False))
    if message is None:
        assert not estimate_independents(start, digits, folder, **options).n_models
        return
    for function in (make_independents, estimate_independents):
        with pytest.raises(ValueError, match=f"{message}.*Nothing was changed; choose another"):
            function(start, digits, folder, **options)
    assert contents(folder) == before


def test_strangers_in_the_folder_are_noticed(made, digits, start, tmp_path):
    weights = made.paths[0].read_bytes()
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "independent-001.safetensors").write_bytes(weights)
    with pytest.raises(
        ValueError, match=r"independent-001.safetensors is not an independent model"
    ):
        make_independents(start, digits, bare, count=1, recipe=RECIPE)
    assert contents(bare) == {"independent-001.safetensors": weights}
    mixed = tmp_path / "mixed"
    make_independents(start, digits, mixed, count=1, recipe=RECIPE)
    (mixed / "victim.safetensors").write_bytes(weights)
    with pytest.raises(ValueError, match="victim.safetensors is not one of the independent models"):
        make_independents(start, digits, mixed, count=1, recipe=RECIPE)


def test_more_models_than_asked_for_must_be_alike_too(made, digits, start):
    folder = made.paths[0].parent
    assert estimate_independents(start, digits, folder, count=1, recipe=RECIPE).n_models == 0
    with pytest.raises(ValueError, match="was made otherwise"):
        estimate_independents(start, digits, folder, count=1, recipe=RECIPE, seed=9)


def test_the_estimate_counts_steps_and_writes_nothing(digits, start, tmp_path, monkeypatch):
    monkeypatch.setattr(independents, "seconds_per_step", lambda *_args, **_options: 0.5)
    folder = tmp_path / "new"
    found = estimate_independents(start, digits, folder, count=5, recipe=RECIPE, workers=2)
    # 1081 images are 17 batches of 64; the test images 8, forwards alone; three turns of two.
    assert (found.n_models, found.n_skipped, found.n_images) == (5, 0, 1081)
    assert found.n_steps == 5 * 4 * 17
    assert found.workers == 2
    assert found.seconds == pytest.approx(3 * (4 * 17 + 8 / 3) * 0.5)
    weights = sum(p.numel() for p in start.build(0).parameters())
    assert found.n_bytes == 5 * 4 * weights
    assert not folder.exists()


def test_the_estimated_step_is_real(digits, start, tmp_path):
    state = torch.get_rng_state()
    found = estimate_independents(start, digits, tmp_path, count=1, recipe=RECIPE)
    assert 1e-5 < found.seconds_per_step < 1
    assert torch.equal(torch.get_rng_state(), state)


def test_a_full_disk_is_noticed_before_training(digits, start, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(independents.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DiskFullError, match="the models need 0 MB, 0 MB are free"):
        make_independents(start, digits, tmp_path / "new", count=2)
    assert not list(tmp_path.iterdir())


def test_training_that_diverges_is_named(digits, start, tmp_path):
    wild = TrainingConfig(epochs=1, learning_rate=1e30, optimizer="sgd", schedule="constant")
    with pytest.raises(ExceptionGroup, match="independents: 1 of 1 failed") as caught:
        make_independents(start, digits, tmp_path, count=1, recipe=wild)
    (error,) = caught.value.exceptions
    assert "independent-001: the loss is" in str(error)
    assert "lower learning_rate" in str(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"subset": 0.0}, "subset must be above 0 and at most 1, got 0"),
        ({"subset": 1.5}, "subset must be above 0 and at most 1, got 1.5"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_arguments_out_of_range(digits, start, options, message):
    with pytest.raises(ValueError, match=message):
        make_independents(start, digits, "nowhere", **options)


def test_one_class_is_nothing_to_learn(digits, start: StartingNetwork):
    rows = digits.train_labels == 0
    one = replace(
        digits,
        train_images=digits.train_images[rows],
        train_labels=digits.train_labels[rows],
        test_images=digits.test_images[digits.test_labels == 0],
        test_labels=digits.test_labels[digits.test_labels == 0],
        classes=("0",),
    )
    with pytest.raises(ValueError, match="digits must have at least 2 classes, got 0 alone"):
        make_independents(start, one, "nowhere")
