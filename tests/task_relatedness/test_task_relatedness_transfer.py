"""How transfers between tasks are measured."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from modelgif.experiment.run import open_run
from modelgif.experiment.seeding import derive_seed, seeded_generator
from modelgif.experiment.training import TrainingConfig
from modelgif.loading.checkpoint import read_card, read_checkpoint, write_checkpoint
from modelgif.loading.load import load_model
from modelgif.storage.tensor_file import SealedFileError
from task_relatedness import transfer as stage
from task_relatedness.config import PublishedConfig, RoomsConfig, TaskRelatednessConfig, ZooConfig
from task_relatedness.transfer import read_transfer, transfer
from task_relatedness.zoo import encoder_path, fixed_inputs, load_encoder, rows_of, task_named
from tests.support.blob_rooms import blob_rooms

TASKS = ("denoising", "room_layout", "segment_unsup2d")
ROOMS = RoomsConfig(size=32, samples=1, n_train=1, n_transfer=20, n_test=12, n_references=1)
FAST = TrainingConfig(epochs=4, batch_size=8, learning_rate=0.01, weight_decay=0.01)
CONFIG = TaskRelatednessConfig(
    device="cpu", tasks=TASKS, rooms=ROOMS, zoo=ZooConfig(width=2, training=FAST, transfer=FAST)
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Transfers between random encoders."""
    run = open_run(
        CONFIG, testbed="task_relatedness", name="blobs", root=tmp_path_factory.mktemp("runs")
    )
    for i, task in enumerate(TASKS):
        _write_encoder(run, task, seed=i)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "load_rooms", lambda config, *_, **__: blob_rooms(config.count))
        patch.setattr(stage, "workers_on", lambda device: 1)
        transfer(run)
        yield run


def _write_encoder(run, task, *, seed):
    address = "python:task_relatedness.learning.taskonomy_networks:encoder?width=2"
    model = load_model(f"{address}&seed={seed}&mean=0.5&std=0.5")
    with torch.no_grad():
        # Like a trained one: statistics of what it sees.
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        model.train()(blob_rooms(20).images)
        model.eval()
    write_checkpoint(encoder_path(run, task), model, {"architecture": address})


def test_every_pair_is_measured_in_every_test_room(run):
    found = read_transfer(run)
    assert tuple(found) == TASKS
    for sources, losses in found.values():
        assert sources == TASKS
        assert losses.shape == (3, 12)
        assert losses.dtype == np.float64
        assert np.isfinite(losses).all()
        assert len(np.unique(losses[:, 0])) == 3


def test_features_that_tell_more_lose_less():
    rooms = blob_rooms(ROOMS.count)
    images, layout = rooms.images, rooms.targets["room_layout"]
    told = {
        "autoencoding": F.pad(F.adaptive_avg_pool2d(images, 2), (0, 0, 0, 0, 0, 5)),
        "room_layout": layout[:, :8, None, None].expand(-1, -1, 2, 2),
    }
    parts = [rows_of(role, ROOMS) for role in ("transfer", "test")]
    for target, features in told.items():
        features = (features - features.mean()) / features.std()
        mixed_up = features[torch.randperm(len(features), generator=generator())]
        informed, misled = (
            stage._losses(CONFIG, target, rooms, *(given[part] for part in parts))
            for given in (features, mixed_up)
        )
        assert (informed < misled).double().mean() > 0.8
        assert informed.mean() < misled.mean()


def _features(run, source, target):
    """Features of the rooms for transfer and of the test rooms, scaled by the first's."""
    images = blob_rooms(ROOMS.count).images
    ends = []
    with torch.no_grad():
        for role in ("transfer", "test"):
            shown = fixed_inputs(CONFIG, task_named(target), images[rows_of(role, ROOMS)], role)
            ends.append(load_encoder(run, source)(shown).double())
    mean = ends[0].mean((0, 2, 3), keepdim=True)
    std = (ends[0] - mean).square().mean((0, 2, 3), keepdim=True).sqrt()
    std[std < 1e-3] = 1
    return [((end - mean) / std).float() for end in ends]


def test_a_loss_is_that_of_a_decoder_trained_by_hand(run):
    """The whole of one transfer, with torch's own optimiser and nothing of the stage."""
    source, target = "segment_unsup2d", "room_layout"
    known, tested = _features(run, source, target)
    rooms = blob_rooms(ROOMS.count).targets[target]
    truth, expected = (rooms[rows_of(role, ROOMS)] for role in ("transfer", "test"))
    seed = derive_seed(0, "transfer", target, "weights")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 11))
    mean, std = truth.mean(0), truth.std(0, correction=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    order = seeded_generator(0, "transfer", target, "order")
    for epoch in range(4):
        rows = torch.randperm(20, generator=order)
        for i, batch in enumerate(rows.split(8)):
            step = 3 * epoch + i
            optimizer.param_groups[0]["lr"] = 0.005 * (1 + math.cos(math.pi * step / 12))
            optimizer.zero_grad()
            F.mse_loss(model(known[batch]), (truth[batch] - mean) / std).backward()
            optimizer.step()
    with torch.no_grad():
        by_hand = (model(tested) - (expected - mean) / std).square().mean(1)
    sources, losses = read_transfer(run)[target]
    np.testing.assert_allclose(losses[sources.index(source)], by_hand, rtol=2e-3)


def test_denoising_is_transferred_to_from_noisy_images(run):
    noisy = stage._features(run, stage._encoders(run), noisy=True)
    clean = stage._features(run, stage._encoders(run), noisy=False)
    for source in ("denoising", "room_layout"):
        for role, ours in zip((0, 1), noisy[source], strict=True):
            torch.testing.assert_close(ours, _features(run, source, "denoising")[role])
            assert not torch.allclose(ours, clean[source][role], atol=0.1)
            torch.testing.assert_close(
                clean[source][role], _features(run, source, "segment_unsup2d")[role]
            )


def test_a_file_that_is_missing_or_damaged_is_made_again_alike(run):
    paths = {task: run.folder / "transfer" / f"{task}.safetensors" for task in TASKS}
    before = {task: path.read_bytes() for task, path in paths.items()}
    kept = paths["denoising"].stat().st_mtime_ns
    paths["room_layout"].unlink()
    paths["segment_unsup2d"].write_bytes(before["segment_unsup2d"][:-8])
    for broken in ("room_layout", "segment_unsup2d"):
        with pytest.raises(SealedFileError, match=broken):
            read_transfer(run)
        transfer(run) if broken == "segment_unsup2d" else paths[broken].write_bytes(before[broken])
    assert {task: path.read_bytes() for task, path in paths.items()} == before
    assert paths["denoising"].stat().st_mtime_ns == kept


def test_transfers_from_an_encoder_that_was_since_replaced_are_not_used(run):
    path = encoder_path(run, "denoising")
    state, card = read_checkpoint(path)
    before = read_transfer(run)["room_layout"]
    _write_encoder(run, "denoising", seed=77)
    assert read_card(path)["weights_sha256"] != card["weights_sha256"]
    with pytest.raises(ValueError, match="run the stage transfer again"):
        read_transfer(run)
    transfer(run)
    after = read_transfer(run)["room_layout"]
    changed = (before[1] != after[1]).any(1)
    assert dict(zip(TASKS, changed, strict=True)) == {t: t == "denoising" for t in TASKS}
    write_checkpoint(path, state, card)
    transfer(run)
    np.testing.assert_array_equal(read_transfer(run)["room_layout"][1], before[1])


def test_published_encoders_are_not_transferred(tmp_path):
    config = TaskRelatednessConfig(published=PublishedConfig(root="a", images="b"))
    run = open_run(config, testbed="task_relatedness", name="paper", root=tmp_path)
    transfer(run)
    assert not (run.folder / "transfer").exists()
