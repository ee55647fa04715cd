"""The testbed of model selection: the zoo, its tasks, fine-tuning and features."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from model_selection.config import FinetuneConfig, ModelSelectionConfig
from model_selection.draws import balanced_rows, split_within_classes
from model_selection.extract_features import extract_features
from model_selection.fine_tuning import Trial, accuracy, best, fine_tuned, trial
from model_selection.finetune import finetune
from model_selection.source import load_source
from model_selection.tasks import load_task, task_names, with_noise
from model_selection.train import checkpoint_path, load_member, train
from model_selection.zoo import roster
from modelgif.data.data import load_data
from modelgif.experiment.backbone import backbone
from modelgif.experiment.config import load_config
from modelgif.experiment.config_error import ConfigError
from modelgif.experiment.run import open_run
from modelgif.experiment.training import TrainingConfig, predict
from modelgif.loading.checkpoint import read_card

CONFIGS = "model_selection/configs"
STAGES = (train, finetune, extract_features)


@pytest.fixture(scope="module")
def smoke():
    return load_config(ModelSelectionConfig, f"{CONFIGS}/smoke.yaml")


@pytest.fixture(scope="module")
def finished(smoke, made_once):
    def opened(root):
        return open_run(smoke, testbed="model_selection", name="smoke", root=root)

    def finish(root):
        for stage in STAGES:
            stage(opened(root))

    return opened(made_once("selection_zoo", finish))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def files_of(run):
    return {
        path.relative_to(run.folder).as_posix(): path.read_bytes()
        for path in run.folder.rglob("*")
        if path.is_file() and path.name != "config.yaml"
    }


def pixels(*image_sets):
    return {image.numpy().tobytes() for images in image_sets for image in images}


# --- draws -----------------------------------------------------------------------------------


def test_draws_spread_evenly_over_classes():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 20)
    rows = balanced_rows(labels, 20, generator=generator(), what="n")
    assert len(rows.unique()) == 20
    assert rows.tolist() == sorted(rows.tolist())
    # Class 1 has but three; the others share the rest.
    counts = labels[rows].bincount().tolist()
    assert counts[1] == 3
    assert sorted((counts[0], counts[2])) == [8, 9]
    other = balanced_rows(labels, 20, generator=generator(1), what="n")
    assert other.tolist() != rows.tolist()
    assert balanced_rows(labels, None, generator=generator(), what="n").tolist() == [*range(73)]
    for count, message in (
        (74, "n must be at most 73"),
        (2, "n must be at least 3, one per class"),
    ):
        with pytest.raises(ValueError, match=message):
            balanced_rows(labels, count, generator=generator(), what="n")


def test_validation_images_are_a_share_of_each_class():
    labels = torch.tensor([0] * 10 + [1] * 2 + [2] * 30)[torch.randperm(42, generator=generator())]
    kept, apart = split_within_classes(labels, 0.3, generator=generator())
    assert sorted([*kept.tolist(), *apart.tolist()]) == [*range(42)]
    assert labels[apart].bincount().tolist() == [3, 1, 9]
    with pytest.raises(ValueError, match="class 5 has a single image"):
        split_within_classes(torch.tensor([4, 4, 5]), 0.5, generator=generator())


def test_noise_gives_so_many_labels_to_another_class():
    labels = torch.arange(4).repeat(500)
    noisy = with_noise(labels, 4, 0.3, generator=generator())
    wrong = noisy != labels
    assert wrong.sum() == 600
    steps = ((noisy - labels) % 4)[wrong].bincount(minlength=4)
    assert steps[0] == 0
    assert (steps[1:] > 150).all()
    assert torch.equal(labels, torch.arange(4).repeat(500))


# --- the source and the tasks ----------------------------------------------------------------


def test_no_image_of_a_task_was_pretrained_on(smoke):
    source = load_source(smoke)
    data = source.data
    assert (len(data.train_images), len(data.test_images)) == (300, 120)
    assert set(data.train_labels.tolist()) == set(data.test_labels.tolist()) == set(range(6))
    assert data.classes == ("0", "1", "2", "3", "4", "5")
    learnt, held_out = pixels(data.train_images), pixels(data.test_images)
    assert len(learnt) == 300
    assert not learnt & held_out
    for name in task_names(smoke):
        task = load_task(smoke, name)
        seen, unseen = pixels(task.train_images), pixels(task.test_images)
        assert len(seen) == 40
        assert not (seen | unseen) & (learnt | held_out)
        assert not seen & unseen
    # The source's own test images are of its training split: the test split is the tasks' alone.
    assert not pixels(load_data("digits").test_images) & (learnt | held_out)


def test_labels_are_positions_of_groups(smoke):
    truth = load_data("digits")
    labels = dict(
        zip(
            (image.numpy().tobytes() for image in truth.test_images),
            truth.test_labels.tolist(),
            strict=True,
        )
    )
    others, parity = (load_task(smoke, name) for name in task_names(smoke))
    assert others.classes == ("6", "7", "8", "9")
    assert parity.classes == ("0+2+4+6+8", "1+3+5+7+9")
    for task, expected in ((others, lambda digit: digit - 6), (parity, lambda digit: digit % 2)):
        for image, label in zip(task.test_images, task.test_labels.tolist(), strict=True):
            assert label == expected(labels[image.numpy().tobytes()])
    assert len(parity.test_labels) == 450
    assert others.train_labels.bincount().tolist() == [10] * 4


def test_photographs_become_as_grey_as_the_source(smoke):
    tasks = "tasks=[{name: photos, data: {name: photos, size: 8}, n_train: 27}, {name: b}]"
    config = load_config(ModelSelectionConfig, f"{CONFIGS}/smoke.yaml", [tasks])
    task = load_task(config, "photos")
    assert task.train_images.shape == (27, 1, 8, 8)
    assert task.test_images.shape == (900, 1, 8, 8)
    colour = load_data("photos", size=8).test_images
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    torch.testing.assert_close(task.test_images[:, 0], (colour * weights).sum(1), atol=2e-3, rtol=0)
    with pytest.raises(ValueError, match="there is no task 'c'; there are photos, b"):
        load_task(config, "c")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["source.classes=[0, 10]"], r"labels below 10, the classes of digits, got \[0, 10\]"),
        (["source.classes=[0, 0]"], "must be different labels"),
        (["source.n_held_out=5000"], "source.n_held_out must be below 8"),
        (["source.n_train=5000"], "source.n_train must be at most"),
    ],
)
def test_a_source_that_is_not_there(overrides, message):
    config = load_config(ModelSelectionConfig, f"{CONFIGS}/smoke.yaml", overrides)
    with pytest.raises(ValueError, match=message):
        load_source(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks=[{name: a}, {name: a}]", "two tasks called a"),
        ("tasks=[{name: general}, {name: b}]", "general is the name of the general images"),
        ("tasks=[{name: a, groups: [[1], [1, 2]]}, {name: b}]", "hold no label twice"),
        ("tasks=[{name: a, data: {name: digits, size: 9}}, {name: b}]", "leave out data"),
        ("zoo=[{pretraining: random, architectures: [vgg, vgg]}]", "models called random-vgg"),
        ("zoo=[{pretraining: random, architectures: [vgg]}]", "two models or more"),
        ("zoo=[{pretraining: rotation, architectures: [vgg]}]", "training"),
        ("zoo=[{pretraining: random, architectures: [lenet]}]", "lenet"),
        ("finetune.n_refits=0", "n_refits"),
    ],
)
def test_configurations_that_do_not_fit(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(ModelSelectionConfig, f"{CONFIGS}/smoke.yaml", [override])


def test_shipped_configurations_have_enough_to_choose_from():
    paper = load_config(ModelSelectionConfig, f"{CONFIGS}/paper.yaml")
    assert len(roster(paper)) == 12
    assert len(paper.tasks) == 11
    small = load_config(ModelSelectionConfig, f"{CONFIGS}/small.yaml")
    assert len(roster(small)) >= 10
    assert len({m.pretraining for m in roster(small)}) == 10
    assert len({m.architecture for m in roster(small)}) >= 2
    assert len(small.tasks) >= 4


# --- fine-tuning -----------------------------------------------------------------------------


def test_fine_tuning_trains_everything_and_leaves_the_original_alone():
    torch.manual_seed(0)
    original = backbone("vgg", in_channels=1, width=4)
    before = {k: v.clone() for k, v in original.state_dict().items()}
    data = load_data("digits")
    config = FinetuneConfig(learning_rates=(0.1,), weight_decays=(0.0,), n_steps=40)
    training = config.training(0.1, 0.0, 300)
    images, labels = data.train_images[:300], data.train_labels[:300]
    tuned = [
        fine_tuned(original, images, labels, 10, training, generator=generator(4)) for _ in range(2)
    ]
    assert all(torch.equal(v, before[k]) for k, v in original.state_dict().items())
    assert all(
        torch.equal(a, b) for a, b in zip(tuned[0].parameters(), tuned[1].parameters(), strict=True)
    )
    moved = [not torch.equal(v, before[k]) for k, v in tuned[0][0].named_parameters()]
    assert all(moved)
    logits = predict(tuned[0], data.test_images)
    assert logits.shape == (450, 10)
    assert accuracy(logits, data.test_labels) > 0.4
    own = trial(tuned[0], (0.1, 0.0), data.test_images, data.test_labels)
    assert own.validation_accuracy == accuracy(logits, data.test_labels)
    expected = F.cross_entropy(logits, data.test_labels).item()
    assert own.validation_loss == pytest.approx(expected, rel=1e-5)


def test_steps_are_whole_epochs():
    config = FinetuneConfig(
        learning_rates=(0.1, 0.2), weight_decays=(0.0, 0.5), n_steps=60, batch_size=32
    )
    assert config.grid() == [(0.1, 0.0), (0.1, 0.5), (0.2, 0.0), (0.2, 0.5)]
    # 100 images are 4 batches; 10000 are more than 60.
    assert config.training(0.1, 0.5, 100).epochs == 15
    assert config.training(0.1, 0.5, 10000).epochs == 1
    assert config.training(0.1, 0.5, 10).weight_decay == 0.5


def test_a_setting_that_diverges_is_never_chosen():
    original = backbone("convnet", in_channels=1, width=4)
    images, labels = torch.rand(40, 1, 8, 8, generator=generator()), torch.arange(40) % 2
    training = TrainingConfig(epochs=3, optimizer="sgd", learning_rate=1e9, schedule="constant")
    assert fine_tuned(original, images, labels, 2, training, generator=generator()) is None
    lost = trial(None, (1e9, 0.0), images, labels)
    assert lost == Trial(1e9, 0.0, None, None)
    trials = [lost, Trial(0.1, 0.0, 0.5, 0.8), Trial(0.2, 0.0, 0.7, 0.9), Trial(0.3, 0.0, 0.7, 0.6)]
    assert best(trials) == 3
    assert best(trials[:3]) == 2
    assert best([Trial(0.1, 0.0, 0.0, 3.0), lost]) == 0
    with pytest.raises(ValueError, match="training diverged with every setting"):
        best([lost])


def test_other_errors_of_training_are_not_taken_for_divergence():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            if self.training:
                raise RuntimeError("out of memory")
            return x.mean((1, 2, 3))[:, None] * self.weight

    training = TrainingConfig(epochs=1, learning_rate=0.1)
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4) % 2
    with pytest.raises(RuntimeError, match="out of memory"):
        fine_tuned(Broken(), images, labels, 2, training, generator=generator())


def test_accuracy_by_class():
    logits = torch.eye(3)[[0, 0, 0, 0, 1, 2]]
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert accuracy(logits, labels) == pytest.approx(4 / 6)
    assert accuracy(logits, labels, per_class=True) == pytest.approx((1 + 1 / 3) / 2)


# --- the stages ------------------------------------------------------------------------------


def test_the_zoo_has_cards_that_say_what_was_learnt(finished, smoke):
    members = roster(smoke)
    assert [m.name for m in members] == [
        *("random-vgg", "supervised-vgg", "rotation-convnet", "simclr-vgg")
    ]
    zoo = pd.read_csv(finished.folder / "zoo" / "roster.csv").set_index("model")
    assert list(zoo.index) == [m.name for m in members]
    for member in members:
        card = read_card(checkpoint_path(finished, member.name))
        supervised = member.pretraining == "supervised"
        assert card["n_classes"] == (6 if supervised else None)
        assert card["n_images"] == (0 if member.pretraining == "random" else 300)
        if member.pretraining != "random":
            assert card["pretrained"] > max(1.15 * card["untrained"], 1.5 * card["plain"])
        model, _ = load_member(finished, member.name)
        images = load_source(smoke).data.train_images
        output = predict(model, images[:5])
        assert output.shape == (5, 6 if supervised else 16)
        assert model.preprocessing["mean"] == pytest.approx([images.mean().item()], rel=1e-5)


def test_the_sweep_chooses_by_validation_images_only(finished, smoke):
    frame = pd.read_csv(finished.folder / "finetune" / "accuracy.csv")
    columns = ["model", "task", "learning_rate", "weight_decay", "validation_accuracy"]
    assert list(frame.columns[:7]) == [*columns, "test_accuracy", "chosen"]
    grid = smoke.finetune.grid()
    assert len(frame) == 4 * 2 * len(grid)
    for (model, task), rows in frame.groupby(["model", "task"]):
        chosen = rows[rows["chosen"]]
        assert len(chosen) == 1
        assert rows["test_accuracy"].notna().sum() == 1
        best_accuracy = rows["validation_accuracy"].max()
        assert chosen["validation_accuracy"].item() == best_accuracy
        found = json.loads((finished.folder / "finetune" / task / f"{model}.json").read_text())
        assert len(found["refits"]) == 2
        assert chosen["test_accuracy"].item() == pytest.approx(np.mean(found["refits"]), abs=1e-12)
        spread = np.std(found["refits"], ddof=1)
        assert chosen["test_spread"].item() == pytest.approx(spread, abs=1e-12)
        assert [(t["learning_rate"], t["weight_decay"]) for t in found["trials"]] == grid


def test_features_are_those_of_the_pretrained_models(finished, smoke):
    general = load_source(smoke).data.test_images
    for member in roster(smoke):
        model, card = load_member(finished, member.name)
        folder = finished.folder / "features" / member.name
        assert {path.stem for path in folder.iterdir()} == {"general", *task_names(smoke)}
        features = safetensors.torch.load_file(folder / "general.safetensors")["features"]
        assert features.shape == (120, 16)
        if card["n_classes"] is None:
            torch.testing.assert_close(features, predict(model, general), rtol=1e-5, atol=1e-6)
        else:
            logits = model.network.head(features)
            torch.testing.assert_close(logits, predict(model, general), rtol=1e-5, atol=1e-5)
        for name in task_names(smoke):
            task = load_task(smoke, name)
            found = safetensors.torch.load_file(folder / f"{name}.safetensors")
            kinds = ["features", "labels"]
            if card["n_classes"] is not None:
                kinds.append("probabilities")
                logits = predict(model, task.test_images)
                expected = torch.softmax(logits.double(), 1).float()
                torch.testing.assert_close(found["test_probabilities"], expected)
                assert found["train_probabilities"].shape == (40, 6)
            assert set(found) == {f"{split}_{k}" for split in ("train", "test") for k in kinds}
            assert found["train_features"].shape == (40, 16)
            for split in ("train", "test"):
                assert torch.equal(found[f"{split}_labels"], getattr(task, f"{split}_labels"))


def test_two_workers_give_the_same_bytes(finished, smoke, tmp_path):
    config = smoke.model_copy(update={"workers": 2})
    twin = open_run(config, testbed="model_selection", name="smoke", root=tmp_path)
    shutil.copytree(finished.folder, twin.folder, dirs_exist_ok=True)
    for name in ("supervised-vgg", "simclr-vgg"):
        checkpoint_path(twin, name).unlink()
    train(twin)
    assert files_of(twin) == files_of(finished)


def test_what_is_there_is_not_made_again(finished, smoke, tmp_path):
    run = open_run(smoke, testbed="model_selection", name="smoke", root=tmp_path)
    shutil.copytree(finished.folder, run.folder, dirs_exist_ok=True)
    before = files_of(run)
    lost = [
        "zoo/simclr-vgg.safetensors",
        "finetune/others/rotation-convnet.json",
        "features/random-vgg/odd_and_even.safetensors",
    ]
    for name in lost:
        (run.folder / name).unlink()
    half = run.folder / "finetune/odd_and_even/random-vgg.json"
    found = json.loads(half.read_text())
    # A sweep that was killed after its first setting.
    found = {k: v for k, v in found.items() if k not in ("chosen", "test_accuracy")}
    half.write_text(json.dumps(found | {"trials": found["trials"][:1], "refits": []}))
    remade = {"zoo/simclr-vgg.json", "zoo/roster.csv", "zoo/roster.csv.sha256"}
    remade |= {"finetune/accuracy.csv", *lost}
    times = {name: (run.folder / name).stat().st_mtime_ns for name in before if name not in lost}
    for stage in STAGES:
        stage(run)
    assert files_of(run) == before
    touched = {n for n, time in times.items() if (run.folder / n).stat().st_mtime_ns != time}
    assert touched | set(lost) == remade | {"finetune/odd_and_even/random-vgg.json"}


def test_accuracies_and_features_of_other_weights_are_made_anew(finished, smoke, tmp_path):
    run = open_run(smoke, testbed="model_selection", name="smoke", root=tmp_path)
    shutil.copytree(finished.folder, run.folder, dirs_exist_ok=True)
    names = ["finetune/others/random-vgg.json", "features/random-vgg/others.safetensors"]
    for ending in ("safetensors", "json"):
        # Another model takes its place.
        shutil.copy(
            run.folder / f"zoo/simclr-vgg.{ending}", run.folder / f"zoo/random-vgg.{ending}"
        )
    before = files_of(run)
    finetune(run)
    extract_features(run)
    after = files_of(run)
    assert all(after[name] != before[name] for name in names)
    others = [name for name in before if "random-vgg" not in name and "accuracy" not in name]
    assert all(after[name] == before[name] for name in others)
