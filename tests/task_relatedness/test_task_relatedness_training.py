"""How the zoo of task relatedness is trained and judged."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import jaccard_score, log_loss, roc_auc_score
from torch.nn import functional as F

from modelgif.experiment.config import load_config
from modelgif.experiment.run import open_run
from modelgif.experiment.training import TrainingConfig
from modelgif.loading.checkpoint import is_complete, read_card
from modelgif.loading.errors import UntrustedError
from modelgif.loading.load import load_model
from task_relatedness import train as stage
from task_relatedness.config import PublishedConfig, RoomsConfig, TaskRelatednessConfig, ZooConfig
from task_relatedness.learning.decoders import decoder, fit_scale
from task_relatedness.learning.losses import embedding_losses, room_losses
from task_relatedness.learning.metrics import (
    blind_answer,
    mean_angle,
    mean_iou,
    metric_of,
    segment_auc,
)
from task_relatedness.learning.pixel_pairs import pixel_pairs
from task_relatedness.learning.training import evaluate_answers, learn
from task_relatedness.tasks import TASK_NAMES, TASKS
from task_relatedness.train import train
from task_relatedness.zoo import (
    decoder_path,
    encoder_path,
    fixed_inputs,
    load_decoder,
    load_encoder,
    of_rooms,
    rows_of,
    task_inputs,
    task_named,
)
from tests.support.blob_rooms import blob_rooms

LEARNT = ("denoising", "normal", "segment_unsup2d", "class_object")
ROOMS = RoomsConfig(size=32, samples=1, n_train=96, n_transfer=8, n_test=24, n_references=4)
FAST = TrainingConfig(epochs=12, batch_size=8, learning_rate=0.005)
ZOO = ZooConfig(width=4, noise=0.3, training=FAST, transfer=FAST)
CONFIG = TaskRelatednessConfig(device="cpu", tasks=LEARNT, rooms=ROOMS, zoo=ZOO)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


def opened(root, config=CONFIG):
    return open_run(config, testbed="task_relatedness", name="blobs", root=root)


@pytest.fixture(scope="module")
def patched():
    """Blobs in place of rooms, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "load_rooms", lambda config, *_, **__: blob_rooms(config.count))
        patch.setattr(stage, "workers_on", lambda device: 1)
        yield


@pytest.fixture(scope="module")
def made(patched, tmp_path_factory):
    run = opened(tmp_path_factory.mktemp("runs"))
    train(run)
    return run


# Losses.


def test_images_and_vectors_lose_their_errors_room_by_room():
    outputs, targets = randn(3, 2, 5, 5), randn(3, 2, 5, 5, seed=1)
    difference = (outputs - targets).double().numpy()
    for name, expected in {
        "depth_zbuffer": np.abs(difference).mean((1, 2, 3)),
        "keypoints2d": (difference**2).mean((1, 2, 3)),
    }.items():
        losses = room_losses(task_named(name), targets, generator=generator())(outputs, targets)
        np.testing.assert_allclose(losses, expected, rtol=1e-5)
    # Each number in units of how much it varies among known rooms.
    scale = torch.tensor([0.01, 1.0, 10.0, 2.0, 0.3])
    known, outputs, targets = (scale * randn(n, 5, seed=n) for n in (1000, 3, 3))
    losses = room_losses(task_named("vanishing_point"), known, generator=generator())(
        outputs, targets
    )
    difference = (outputs - targets).double().numpy() / known.double().numpy().std(0)
    expected = (difference**2).mean(1)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["segment_semantic", "class_object"])
def test_classes_lose_their_cross_entropy_room_by_room(name):
    shape = (4, 6) if name == "segment_semantic" else ()
    scores = randn(3, 5, *shape)
    classes = torch.randint(5, (3, *shape), generator=generator())
    losses = room_losses(task_named(name), classes, generator=generator())(scores, classes)
    for loss, score, truth in zip(losses, scores.double(), classes, strict=True):
        rows = score.softmax(0).reshape(5, -1).T
        expected = log_loss(truth.reshape(-1), rows, labels=range(5))
        assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_embeddings_lose_the_cross_entropy_of_belonging_together():
    # Few enough pixels for all of them to be drawn.
    embeddings, segments = randn(2, 3, 6, 8), torch.arange(2 * 48).reshape(2, 6, 8) // 10
    losses = embedding_losses(embeddings, segments, generator=generator())
    for loss, vectors, numbers in zip(losses, embeddings.double(), segments, strict=True):
        points, labels = vectors.reshape(3, -1).T, numbers.reshape(-1)
        terms = {True: [], False: []}
        for i in range(48):
            for j in range(i):
                together = 2 / (1 + math.exp((points[i] - points[j]).square().sum()))
                same = bool(labels[i] == labels[j])
                terms[same].append(-math.log(together if same else 1 - together))
        expected = (np.mean(terms[True]) + np.mean(terms[False])) / 2
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_coarse_embeddings_stand_for_blocks_of_pixels():
    coarse, segments = randn(2, 3, 4, 3), torch.randint(4, (2, 8, 6), generator=generator())
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    pairs = (pixel_pairs(e, segments, generator=generator(), n_pixels=20) for e in (coarse, fine))
    for ours, theirs in zip(*pairs, strict=True):
        assert torch.equal(ours, theirs)


def test_embeddings_that_are_all_alike_or_far_apart_have_finite_gradients():
    segments = torch.randint(3, (1, 8, 8), generator=generator())
    for size in (0.0, 1e-4, 1.0, 100.0):
        embeddings = (size * randn(1, 4, 8, 8)).requires_grad_()
        embedding_losses(embeddings, segments, generator=generator()).sum().backward()
        assert embeddings.grad.isfinite().all()


def test_a_room_of_one_segment_only_draws_together():
    embeddings = randn(1, 4, 8, 8)
    alone = embedding_losses(embeddings, torch.zeros(1, 8, 8).long(), generator=generator())
    closer = embedding_losses(embeddings / 2, torch.zeros(1, 8, 8).long(), generator=generator())
    assert 0 < closer < alone


# Metrics.


def test_angles_are_those_that_vectors_were_turned_by():
    targets = F.normalize(randn(2, 3, 4, 4), dim=1)
    across = F.normalize(torch.cross(targets, randn(2, 3, 4, 4, seed=1), dim=1), dim=1)
    turned = math.cos(0.3) * targets + math.sin(0.3) * across
    assert mean_angle(7 * turned, targets) == pytest.approx(math.degrees(0.3), abs=1e-3)
    targets[0] = 0
    assert mean_angle(torch.cat([-turned[:1], turned[1:]]), targets) == pytest.approx(
        math.degrees(0.3), abs=1e-3
    )


def test_mean_iou_is_scikit_learns_macro_jaccard():
    scores = randn(3, 6, 7, 7)
    scores[:, 4] = -100  # Never answered, and never true.
    classes = torch.randint(4, (3, 7, 7), generator=generator())
    answers = scores.argmax(1).flatten()
    expected = jaccard_score(classes.flatten(), answers, average="macro")
    assert mean_iou(scores, classes) == pytest.approx(expected)


def test_the_auc_of_segments_is_scikit_learns():
    embeddings, segments = randn(3, 2, 10, 10), torch.arange(300).reshape(3, 10, 10) // 30
    embeddings = embeddings + segments[:, None] % 2
    segments[2] = 1  # Does not count.
    first, second = np.triu_indices(100, 1)
    expected = []
    for vectors, numbers in zip(embeddings[:2].double(), segments[:2], strict=True):
        points, labels = vectors.reshape(2, -1).T.numpy(), numbers.reshape(-1).numpy()
        distances = ((points[first] - points[second]) ** 2).sum(1)
        expected.append(roc_auc_score(labels[first] == labels[second], -distances))
    assert segment_auc(embeddings, segments) == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.parametrize("name", ["depth_zbuffer", "edge_texture"])
def test_no_other_blind_answer_is_better_on_the_rooms_it_was_made_from(name):
    task = task_named(name)
    targets = randn(31, 1, 4, 4).exp()
    blind = blind_answer(task, targets, n_outputs=1)
    measure = metric_of(task).measure
    best = measure(blind.expand_as(targets), targets)
    for seed in range(20):
        other = blind + 0.1 * randn(1, 4, 4, seed=seed)
        assert best < measure(other.expand_as(targets), targets)


def test_a_blind_answer_to_vectors_explains_nothing_and_half_the_error_three_quarters():
    task, targets = task_named("room_layout"), randn(40, 11) * torch.arange(1, 12)
    measure = metric_of(task).measure
    blind = blind_answer(task, targets, n_outputs=11)
    assert measure(blind.expand_as(targets), targets) == pytest.approx(0, abs=1e-6)
    assert measure((targets + blind) / 2, targets) == pytest.approx(0.75)


def test_blind_answers_to_classes_are_the_most_frequent_ones():
    classes = torch.tensor([[0, 3, 3], [0, 1, 3], [2, 1, 3]])[:, None]
    blind = blind_answer(task_named("segment_semantic"), classes, n_outputs=5)
    assert blind.shape == (1, 5, 1, 3)
    assert blind.argmax(1).tolist() == [[[0, 1, 3]]]
    assert blind_answer(task_named("class_object"), classes[:, 0, 2], n_outputs=5).argmax(1) == 3


def test_a_blind_answer_to_segments_is_the_pixels_place():
    blind = blind_answer(task_named("segment_unsup2d"), torch.zeros(3, 4, 5).long(), n_outputs=64)
    assert blind[0, :, 3, 1].tolist() == [3, 1]


def test_denoising_must_beat_the_noisy_image_too():
    task, clean = task_named("denoising"), torch.rand(8, 3, 16, 16, generator=generator())
    for noise, by in ((0.05, "noisy"), (5.0, "blind")):
        seen = task_inputs(task, clean, noise=noise, generator=generator())
        found = evaluate_answers(task, clean, clean, seen, clean)
        expected = {
            "noisy": (seen - clean).abs().mean(),
            "blind": (clean.median(0).values - clean).abs().mean(),
        }
        assert found["trivial"] == pytest.approx(expected[by].item(), rel=1e-5)
        assert found["value"] == 0
        assert found["learnt"]
    assert not evaluate_answers(task, seen, clean, seen, clean)["learnt"]


def test_every_task_has_a_metric_under_which_its_truth_is_perfect():
    rooms = blob_rooms(4)
    for name, targets in rooms.targets.items():
        task, answers = task_named(name), targets
        if task.form == "segments":
            answers = targets[:, None].float()
        if task.form in ("semantic", "class"):
            answers = F.one_hot(targets, 17).movedim(-1, 1).float()
        metric = metric_of(task)
        perfect = metric.measure(answers, targets)
        assert perfect == pytest.approx(0 if metric.better == "lower" else 1, abs=0.1)
        assert metric.is_better(perfect, metric.measure(randn(*answers.shape), targets))


# Decoders and parts.


@pytest.mark.parametrize("task", TASKS, ids=TASK_NAMES)
def test_decoders_answer_in_the_form_of_their_task(task):
    n_outputs = task.channels or 11
    answers = decoder(task.name, n_outputs, side=48, width=8)(randn(2, 8, 3, 3))
    pixels = {"image": (48, 48), "semantic": (48, 48), "segments": (24, 24)}
    assert answers.shape == (2, n_outputs, *pixels.get(task.form, ()))


def test_a_fitted_decoder_answers_at_the_scale_of_the_truth():
    model = decoder("curvature", 2, side=32, width=8).train()
    scale, shift = torch.tensor([3.0, 0.02])[:, None, None], torch.tensor([5.0, -1.0])
    targets = randn(16, 2, 32, 32) * scale + shift[:, None, None]
    fit_scale(model, targets)
    standard = model[:-1](randn(4, 8, 2, 2))
    ours = (model[-1](standard) - shift[:, None, None]) / scale
    torch.testing.assert_close(ours, standard, rtol=0.05, atol=0.05)


def test_rooms_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="multiple of 16 pixels, got 40"):
        decoder("normal", 3, side=40, width=8)


def test_no_room_serves_twice():
    config = RoomsConfig(n_train=5, n_transfer=3, n_test=2, n_references=4)
    roles = ("train", "transfer", "test", "references")
    rows = [list(range(config.count))[rows_of(role, config)] for role in roles]
    assert [len(part) for part in rows] == [5, 3, 2, 4]
    assert list(itertools.chain(*rows)) == list(range(config.count))


def test_only_denoising_sees_noise():
    images = torch.full((40, 3, 16, 16), 0.5)
    noisy = task_inputs(task_named("denoising"), images, noise=0.1, generator=generator())
    assert (noisy - images).std().item() == pytest.approx(0.1, rel=0.02)
    assert (noisy - images).mean().item() == pytest.approx(0, abs=0.002)
    dark = task_inputs(task_named("denoising"), 0 * images, noise=0.1, generator=generator())
    assert dark.min() == 0
    clean = task_inputs(task_named("autoencoding"), images, noise=0.1, generator=generator())
    assert torch.equal(clean, images)
    ways = [fixed_inputs(CONFIG, task_named("denoising"), images, r) for r in ("test", "transfer")]
    assert not torch.equal(*ways)
    assert torch.equal(ways[0], fixed_inputs(CONFIG, task_named("denoising"), images, "test"))


def test_every_epoch_of_denoising_has_other_noise():
    given = []

    def examples():
        given.append(task_inputs(task, images, noise=0.1, generator=draws))
        return randn(4, 8, 2, 2), images

    task, images, draws = task_named("denoising"), torch.full((4, 3, 32, 32), 0.5), generator()
    training = TrainingConfig(epochs=2, learning_rate=0.001)
    learn(
        decoder("denoising", 3, side=32, width=4), task, examples, images, training, generator=draws
    )
    assert len(given) == 2
    assert not torch.equal(*given)


def test_published_encoders_have_no_rooms():
    published = PublishedConfig(root="a", images="b")
    config = TaskRelatednessConfig(published=published)
    with pytest.raises(ValueError, match="this needs rooms and zoo"):
        of_rooms(config)


# The stage.


@pytest.mark.slow
def test_every_task_is_learnt(made):
    roster = pd.read_csv(made.folder / "zoo" / "roster.csv").set_index("task")
    assert list(roster.index) == list(LEARNT)
    assert roster["learnt"].all(), roster[["metric", "value", "trivial"]]


@pytest.mark.slow
def test_the_roster_says_what_the_networks_answer(made):
    roster = pd.read_csv(made.folder / "zoo" / "roster.csv").set_index("task")
    rooms = blob_rooms(ROOMS.count).rows(rows_of("test", ROOMS))
    with torch.no_grad():
        features = load_encoder(made, "class_object")(rooms.images)
        answers = load_decoder(made, "class_object")(features)
    hits = (answers.argmax(1) == rooms.targets["class_object"]).double().mean().item()
    assert roster.loc["class_object", "value"] == hits
    with torch.no_grad():
        features = load_encoder(made, "normal")(rooms.images)
        answers = load_decoder(made, "normal")(features)
    cosines = (F.normalize(answers.double(), dim=1) * rooms.targets["normal"]).sum(1)
    angle = cosines.clamp(-1, 1).acos().rad2deg().mean().item()
    assert roster.loc["normal", "value"] == pytest.approx(angle, rel=1e-5)


@pytest.mark.slow
def test_cards_say_where_a_network_is_from(made):
    card = read_card(encoder_path(made, "normal"))
    assert (
        card["architecture"]
        == "python:task_relatedness.learning.taskonomy_networks:encoder?width=4"
    )
    assert card["preprocessing"] == {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert card["recipe"]["epochs"] == FAST.epochs
    with pytest.raises(UntrustedError):
        load_model(f"file:{encoder_path(made, 'normal')}")


@pytest.mark.slow
def test_a_training_that_was_killed_begins_anew_and_ends_in_the_same_bytes(made, patched):
    paths = [encoder_path(made, "class_object"), decoder_path(made, "class_object")]
    files = [file for path in paths for file in (path, path.with_suffix(".json"))]
    before = {file: file.read_bytes() for file in files}
    others = {f: f.stat().st_mtime_ns for f in (made.folder / "zoo").iterdir() if f not in files}
    others.pop(made.folder / "zoo" / "roster.csv")
    # Killed between the two checkpoints, in the middle of a weight file.
    files[0].write_bytes(files[0].read_bytes()[:1000])
    files[1].unlink()
    assert not is_complete(paths[0])
    train(made)
    assert {file: file.read_bytes() for file in files} == before
    assert {file: file.stat().st_mtime_ns for file in others} == others


def test_configurations_are_for_the_rooms_they_say():
    for name in ("smoke", "small", "cuda"):
        config = load_config(TaskRelatednessConfig, f"task_relatedness/configs/{name}.yaml")
        rooms, _ = of_rooms(config)
        assert rooms.size % 16 == 0
    assert rooms.size == 128
