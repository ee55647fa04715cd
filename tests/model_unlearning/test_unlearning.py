"""The testbed of model unlearning."""

import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from model_unlearning.build import TrainingBuilder, other_labels, salient_weights
from model_unlearning.config import ClassConfig, UnlearningConfig
from model_unlearning.evaluate import comparisons, evaluate
from model_unlearning.extract_fields import IMAGE_SETS, choose_references, extract_fields
from model_unlearning.measure import by_checkpoint, half_width, summaries, verdict
from model_unlearning.performance import performance
from model_unlearning.plot import plot
from model_unlearning.split import make_split
from model_unlearning.tables import final_table, verdict_table
from model_unlearning.train import checkpoint_path, train
from model_unlearning.zoo import UnlearningModel, roster
from modelgif.data.data import load_data
from modelgif.distances.distance import distance
from modelgif.experiment.config import ConfigError, load_config
from modelgif.experiment.record import read_records
from modelgif.experiment.run import conditions_line, open_run
from modelgif.experiment.status import stages_of
from modelgif.experiment.training import predict, read_snapshot
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.checkpoint import read_card
from modelgif.loading.load import load_model
from tests.support.finished import check_files, checked_workbook

CONFIGS = "model_unlearning/configs"
SUBSET = "forget={kind: subset, count: 100}"


@pytest.fixture(scope="module")
def smoke():
    return load_config(UnlearningConfig, f"{CONFIGS}/smoke.yaml")


@pytest.fixture(scope="module")
def finished(smoke, made_once):
    def opened(root):
        return open_run(smoke, testbed="model_unlearning", name="smoke", root=root)

    def finish(root):
        for stage in (train, extract_fields, evaluate, plot):
            stage(opened(root))

    return opened(made_once("unlearning_run", finish))


@pytest.fixture(scope="module")
def records(finished):
    return read_records(finished.folder / "records.csv")


def weights(run, member, epoch):
    return load_model(f"file:{checkpoint_path(run, member, epoch)}").state_dict()


def member(config, name):
    return next(m for m in roster(config) if m.name == name)


def test_the_roster_is_a_row_a_model(smoke):
    members = roster(smoke)
    assert len({m.name for m in members}) == len(members) == 14
    assert members[:3] == [
        UnlearningModel("reference", 0, 0, 4),
        UnlearningModel("unrelated", 0, 1, 4),
        UnlearningModel("direct", 0, 0, 4),
    ]
    assert {m.kind for m in members if m.parent == "reference-1"} == {
        "approximate",
        "finetune",
        "gradient_ascent",
        "salun",
    }
    assert UnlearningModel("direct", 0, 0, 7).saved_epochs(3) == [3, 6, 7]


def test_the_stages_leave_what_the_design_promises(finished):
    figures = ("distance_to_original", "distance_to_retrained", "performance")
    check_files(finished.folder, [f"figures/{name}.png" for name in figures])
    # One field per checkpoint and image set, however many comparisons use it.
    checkpoints = {path.stem for path in (finished.folder / "zoo").rglob("*.safetensors")}
    assert len(checkpoints) == 22
    for images in IMAGE_SETS:
        stores = (finished.folder / "fields" / images).iterdir()
        assert {path.stem for path in stores} == checkpoints


@pytest.mark.parametrize("forget", [None, SUBSET])
def test_the_split_keeps_sides_apart(forget):
    config = load_config(
        UnlearningConfig,
        f"{CONFIGS}/smoke.yaml",
        ["n_training_images=1000", *([forget] if forget else [])],
    )
    split = make_split(config)
    data = split.data
    assert len(data.train_images) == len(data.train_labels) == len(split.forgotten) == 1000
    if isinstance(config.forget, ClassConfig):
        assert set(data.train_labels[split.forgotten].tolist()) == {3}
        assert 3 not in data.train_labels[~split.forgotten]
        assert set(data.test_labels[split.held_out].tolist()) == {3}
        assert torch.equal(split.remaining, ~split.held_out)
    else:
        assert split.forgotten.sum() == 100
        assert len(data.train_labels[split.forgotten].unique()) == 10
        assert split.held_out.all()
        assert split.remaining.all()
    assert torch.equal(make_split(config).forgotten, split.forgotten)
    everything = load_data("digits")
    known = {image.numpy().tobytes() for image in everything.train_images}
    assert all(image.numpy().tobytes() in known for image in data.train_images)


def test_members_are_what_their_recipe_says(finished, smoke):
    builder = TrainingBuilder(smoke, make_split(smoke), torch.device("cpu"))
    parent = read_snapshot(finished.folder / "zoo" / "reference-0" / "snapshot.pt")

    def begin(name):
        own = member(smoke, name)
        return builder.begin(own, None if own.parent is None else parent)

    whole, forgotten = len(builder.split.forgotten), int(builder.split.forgotten.sum())
    shown = {kind: len(begin(f"{kind}-0").images) for kind in ("reference", "direct", "salun")}
    assert shown == {"reference": whole, "direct": whole - forgotten, "salun": whole}
    assert set(begin("gradient_ascent-0").labels.tolist()) == {3}
    assert 3 not in begin("finetune-0").labels

    untrained = {k: begin(f"{k}-0").trainer.model.state_dict() for k in ("reference", "direct")}
    untrained["unrelated"] = begin("unrelated-0").trainer.model.state_dict()
    first = "network.conv1.weight"
    assert torch.equal(untrained["reference"][first], untrained["direct"][first])
    assert not torch.equal(untrained["reference"][first], untrained["unrelated"][first])

    approximate, finetune = begin("approximate-0").trainer, begin("finetune-0").trainer
    assert approximate.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert approximate.optimizer.state
    assert finetune.optimizer.param_groups[0]["lr"] == 0.05
    assert not finetune.optimizer.state
    for trainer in (approximate, finetune):
        state = trainer.model.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in parent["weights"].items())

    mask = begin("salun-0").mask
    assert mask is not None
    before = weights(finished, member(smoke, "reference-0"), 4)
    after = weights(finished, member(smoke, "salun-0"), 2)
    assert not any(((after[n] != before[n]) & ~mask[n]).any() for n in mask)
    share = sum(int(m.sum()) for m in mask.values()) / sum(m.numel() for m in mask.values())
    assert share == pytest.approx(0.5, abs=0.01)


def test_wrong_labels_are_wrong_uniform_and_fresh():
    labels = torch.arange(4).repeat(3000)
    generator = torch.Generator().manual_seed(0)
    first, second = (other_labels(labels, 4, generator=generator) for _ in range(2))
    assert not (first == labels).any()
    counts = torch.bincount(4 * labels + first, minlength=16).reshape(4, 4).double()
    assert (counts[~torch.eye(4, dtype=torch.bool)] - 1000).abs().max() < 120
    assert (first == second).double().mean() == pytest.approx(1 / 3, abs=0.03)


def test_salient_weights_have_the_largest_gradients(smoke):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    images, labels = torch.rand(6, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    training = smoke.training.model_copy(update={"batch_size": 4})
    mask = salient_weights(model, images, labels, training, share=0.2)
    assert all(p.grad is None for p in model.parameters())
    nn.functional.cross_entropy(model(images), labels, reduction="sum").backward()
    sizes = torch.cat([p.grad.abs().flatten() for p in model.parameters() if p.grad is not None])
    chosen = torch.cat([mask[name].flatten() for name, _ in model.named_parameters()])
    assert chosen.sum() == 3
    assert sizes[chosen].min() >= sizes[~chosen].max()


def test_performance_is_counted_on_the_right_images(smoke):
    split = make_split(smoke)
    data = split.data

    class Always3(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, images):
            # The brighter an image, the surer: the smaller its loss.
            score = self.scale * images.sum((1, 2, 3))
            return nn.functional.one_hot(torch.tensor(3), 10) * score[:, None]

    found = performance(Always3(), split)
    share = (data.test_labels == 3).double().mean().item()
    assert found["accuracy_forgotten"] == found["accuracy_held_out"] == 1
    assert found["accuracy_retained"] == found["accuracy_remaining"] == 0
    assert 0 < share < 1
    members = data.train_images[split.forgotten].sum((1, 2, 3)).numpy()
    others = data.test_images[split.held_out].sum((1, 2, 3)).numpy()
    brighter = (members[:, None] > others).mean() + (members[:, None] == others).mean() / 2
    assert found["membership_auc"] == pytest.approx(brighter, abs=1e-9)


def test_cards_tell_the_accuracy_of_their_weights(finished, smoke):
    own, split = member(smoke, "direct-1"), make_split(smoke)
    path = checkpoint_path(finished, own, 2)
    card = read_card(path)
    logits = predict(load_model(f"file:{path}"), split.data.train_images)
    hits = (logits.argmax(1) == split.data.train_labels)[~split.forgotten]
    assert card["accuracy_retained"] == pytest.approx(hits.double().mean().item())
    assert (card["kind"], card["replicate"], card["epoch"]) == ("direct", 1, 2)


def test_a_recorded_distance_is_that_of_fields_of_the_true_label(finished, smoke, records):
    references, labels, baseline = choose_references(smoke)["held_out"]
    assert set(labels.tolist()) == {3}
    fields = [
        gradient_field(
            load_model(f"file:{checkpoint_path(finished, member(smoke, name), 4)}"),
            references.images,
            target=labels,
            baseline=baseline,
            n_steps=8,
        )
        for name in ("approximate-0", "direct-0")
    ]
    row = records[
        (records["subject"] == "approximate-0.epoch-004")
        & (records["quantity"] == "distance_to_retrained.held_out")
    ]
    # Stores keep 16 bits a number.
    assert row["value"].item() == pytest.approx(distance(*fields), abs=1e-3)
    assert row["n"].item() == 12


def test_every_comparison_is_the_one_it_is_called(smoke):
    pairs = {(c.subject, c.quantity): c.other for c in comparisons(smoke)}
    original, retrained = "distance_to_original", "distance_to_retrained"
    assert pairs["unrelated-0.epoch-002", original] == "reference-0.epoch-002"
    assert pairs["direct-1.epoch-002", original] == "reference-1.epoch-004"
    assert pairs["salun-1.epoch-002", original] == "reference-1.epoch-004"
    assert pairs["salun-1.epoch-002", retrained] == "direct-1.epoch-004"
    assert pairs["reference-0.epoch-004", retrained] == "direct-0.epoch-004"
    assert pairs["direct-0.epoch-004", retrained] == "direct-1.epoch-004"
    assert ("direct-1.epoch-004", retrained) not in pairs
    three = smoke.model_copy(update={"replicates": 3})
    pairs = {(c.subject, c.quantity): c.other for c in comparisons(three)}
    assert pairs["direct-2.epoch-004", retrained] == "direct-0.epoch-004"


def test_a_finished_run_is_not_done_again(finished):
    def times():
        files = [*finished.folder.rglob("*.safetensors"), *finished.folder.rglob("*.h5")]
        return {file: file.stat().st_mtime_ns for file in files}

    before = times()
    train(finished)
    extract_fields(finished)
    assert times() == before


def run_until(run, path, killed):
    """Trains in another process, and kills it when `path` appears, or lets it end."""
    command = [sys.executable, "-m", "model_unlearning.train", f"{CONFIGS}/smoke.yaml"]
    process = subprocess.Popen(
        [*command, "--runs", str(run.folder.parents[1])],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while killed and not path.exists() and process.poll() is None:
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.002)
    if killed:
        process.send_signal(signal.SIGKILL)
    return process.wait(timeout=120)


def test_a_killed_training_goes_on_to_the_same_bytes(finished, smoke, tmp_path):
    again = open_run(smoke, testbed="model_unlearning", name="smoke", root=tmp_path)
    shutil.copytree(finished.folder / "zoo", again.folder / "zoo")
    lost = ("reference-1", "approximate-0")
    for name in lost:
        shutil.rmtree(again.folder / "zoo" / name)
    for name in lost:
        own = member(smoke, name)
        snapshot = checkpoint_path(again, own, 2).with_name("snapshot.pt")
        assert run_until(again, snapshot, killed=True) == -signal.SIGKILL
        assert not checkpoint_path(again, own, own.epochs).with_suffix(".json").exists()
    train(again)
    for name in lost:
        files = [f for f in (finished.folder / "zoo" / name).iterdir() if f.name != "snapshot.pt"]
        assert len(files) == 4
        for file in files:
            assert (again.folder / "zoo" / name / file.name).read_bytes() == file.read_bytes()


def made_up_records():
    """Three replicates; the method ends nearer to the retrained model."""
    last = {
        ("direct", "distance_to_original"): (1.0, 1.1, 1.2),
        ("direct", "distance_to_retrained"): (0.5, 0.5, 0.5),
        ("unrelated", "distance_to_original"): (0.8, 0.8, 1.3),
        ("reference", "distance_to_retrained"): (1.0, 1.1, 1.2),
        ("approximate", "distance_to_original"): (0.5, 0.6, 0.7),
        ("approximate", "distance_to_retrained"): (0.2, 0.2, 0.3),
    }
    rows = [
        {
            "subject": f"{kind}-{replicate}.epoch-{epoch:03}",
            "quantity": f"{quantity}.{images}",
            "value": value if epoch == 4 else 9.0,
            "spread": float("nan"),
        }
        for (kind, quantity), values in last.items()
        for replicate, value in enumerate(values)
        for epoch in (2, 4)
        for images in IMAGE_SETS
    ]
    return pd.DataFrame(rows)


def test_summaries_of_made_up_records():
    made_up = made_up_records()
    found = {(m.subject, m.quantity): m for m in summaries(by_checkpoint(made_up), IMAGE_SETS)}
    mean = found["approximate", "final_distance_to_original.forgotten"]
    # Student's 0.975 quantile with 2 degrees of freedom is 4.303.
    assert (mean.value, mean.n) == (pytest.approx(0.6), 3)
    assert mean.spread == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    nearer = found["approximate", "nearer_to_retraining.held_out"]
    assert nearer.value == pytest.approx((0.3 + 0.4 + 0.4) / 3)
    assert found["direct - unrelated", "order.forgotten"].value == pytest.approx(0.4 / 3)
    assert ("direct", "nearer_to_retraining.forgotten") not in found

    tables = pd.DataFrame([m._asdict() for m in found.values()])
    final, verdicts = final_table(tables), verdict_table(tables)
    published = final.set_index("model")["paper, CIFAR100"]
    assert published["direct"] == pytest.approx(1.095038)
    assert published["unrelated − approximate"] == pytest.approx(0.768480 - 0.554184)
    assert final["model"].tolist()[:3] == ["direct", "unrelated", "approximate"]
    decided = verdicts.set_index(["images", "model"])["nearer to"]
    assert decided["forgotten images", "approximate"] == "retraining"
    assert verdicts["model"].tolist() == ["original", "retrained", "approximate"] * 2


def test_conditions_of_a_run_are_said_in_one_line(smoke, tmp_path):
    run = open_run(smoke, testbed="model_unlearning", name="smoke", root=tmp_path)
    with pytest.raises(ValueError, match="no finished stage: run the stages first"):
        conditions_line(run)
    with run.stage("train"):
        pass
    line = conditions_line(run)
    assert f"`{run.label}`, seed 0" in line
    assert line.count("\n") == 0
    assert f"torch {metadata.version('torch')}" in line


def test_a_verdict_needs_an_interval_without_zero():
    assert verdict(0.3, 0.2) == "retraining"
    assert verdict(-0.3, 0.2) == "original"
    assert verdict(0.1, 0.2) == verdict(-0.2, 0.2) == verdict(0.3, None) == "undecided"
    assert half_width([0.4]) is None
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


def test_the_workbook_and_the_records_agree(finished):
    book = checked_workbook(finished.folder)
    names = ["distances", "verdicts", "performance", "roster", "records", "conditions"]
    assert list(book) == names


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("forget={kind: klass, label: 1}", "'class'.*'subset'"),
        ("methods.3.recipe=finetune", "saliency|twice"),
        ("methods.1.recipe=gradient_ascent", "methods has gradient_ascent twice"),
        ("training.schedule=cosine", "milestones belong to"),
        ("training={epochs: 3, learning_rate: 0.1}", "approximate cannot go on"),
        ("methods.1.training.epochs=0", "at least one epoch"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(UnlearningConfig, f"{CONFIGS}/smoke.yaml", [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("forget.label=10", "forget.label must be below 10"),
        ("forget={kind: subset, count: 1347}", "forget.count must be below 1347"),
        ("n_training_images=2000", "n_training_images must be at most 1347"),
    ],
)
def test_more_than_the_data_has_is_refused(override, message):
    config = load_config(UnlearningConfig, f"{CONFIGS}/smoke.yaml", [override])
    with pytest.raises(ValueError, match=message):
        make_split(config)


@pytest.mark.parametrize("path", sorted(Path(CONFIGS).glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_configuration_is_of_the_true_label(path):
    config = load_config(UnlearningConfig, path)
    assert roster(config)[0].name == "reference-0"
    assert config.field.target == "true_label"


def test_the_status_of_a_finished_run_misses_no_file(finished):
    stages = stages_of(finished)
    assert [path for stage in stages for path in stage.missing] == []
    assert all(stage.made for stage in stages)
