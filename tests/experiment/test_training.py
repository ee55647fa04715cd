import pytest
import torch
from torch import nn

from modelgif.experiment.augmentation import crop_and_flip
from modelgif.experiment.training import (
    Trainer,
    TrainingConfig,
    predict,
    read_snapshot,
    train,
    write_snapshot,
)

CONFIG = TrainingConfig(epochs=1, learning_rate=0.1)


def generator():
    return torch.Generator().manual_seed(0)


def classes_of_blobs(n=200):
    labels = torch.randint(0, 3, (n,), generator=generator())
    centres = torch.tensor([[4.0, 0.0], [0.0, 4.0], [-4.0, -4.0]])
    return centres[labels] + torch.randn(n, 2, generator=generator()), labels


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_it_learns_what_can_be_learnt(optimizer, schedule):
    points, labels = classes_of_blobs()
    model = nn.Linear(2, 3)
    config = TrainingConfig(
        epochs=20, learning_rate=0.05, optimizer=optimizer, schedule=schedule, batch_size=32
    )
    loss = train(model, points, labels, config, generator=generator())
    assert loss < 0.1
    assert (predict(model, points).argmax(1) == labels).float().mean() > 0.97


def test_probabilities_as_targets_are_matched():
    points, _ = classes_of_blobs()
    teacher, student = nn.Linear(2, 3), nn.Linear(2, 3)
    answers = predict(teacher, points).softmax(1)
    config = TrainingConfig(epochs=60, learning_rate=0.05)
    train(student, points, answers, config, generator=generator())
    assert (predict(student, points).softmax(1) - answers).abs().max() < 0.05


def test_one_sgd_step_is_the_formula():
    points, labels = torch.randn(8, 2), torch.randint(0, 3, (8,))
    model = nn.Linear(2, 3)
    before = model.weight.detach().clone()
    nn.functional.cross_entropy(model(points), labels).backward()
    assert model.weight.grad is not None
    expected = before - 0.1 * model.weight.grad
    config = CONFIG.model_copy(update={"optimizer": "sgd", "batch_size": 8})
    train(model, points, labels, config, generator=generator())
    torch.testing.assert_close(model.weight.detach(), expected)


def test_frozen_parameters_and_their_batch_norm_stay():
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    model[:2].requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    points, labels = classes_of_blobs()
    train(model, points, labels, CONFIG, generator=generator())
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"2.weight", "2.bias"}
    assert not model.training


def test_the_same_seed_gives_the_same_weights():
    points, labels = classes_of_blobs()
    ends = []
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        model = nn.Linear(2, 3)
        order = torch.Generator().manual_seed(seed)
        train(model, points, labels, CONFIG, generator=order)
        ends.append(model.weight.detach())
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_divergence_is_named():
    points, labels = classes_of_blobs()
    config = TrainingConfig(epochs=3, learning_rate=1e30, optimizer="sgd")
    with pytest.raises(RuntimeError, match="training diverged; lower learning_rate"):
        train(nn.Linear(2, 3), points * 1e30, labels, config, generator=generator())


def test_nothing_to_train_is_refused():
    model = nn.Linear(2, 3).requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train: 0 trainable parameters"):
        train(model, *classes_of_blobs(), CONFIG, generator=generator())


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 16, 3)
        )


IMAGES = torch.rand(50, 1, 6, 6, generator=generator())
LABELS = torch.randint(0, 3, (50,), generator=generator())
RESUMABLE = {
    "sgd": {"optimizer": "sgd", "schedule": "multistep", "milestones": (2, 4)},
    "adamw": {"optimizer": "adamw", "schedule": "cosine"},
}


@pytest.mark.parametrize("options", RESUMABLE.values(), ids=RESUMABLE)
def test_an_interrupted_training_goes_on_to_the_same_bits(options, tmp_path):
    config = TrainingConfig(
        epochs=5, learning_rate=0.1, batch_size=16, augmentation="crop_and_flip", **options
    )

    def trainer():
        return Trainer(network(), len(IMAGES), config, generator=generator())

    whole, first, second = trainer(), trainer(), trainer()
    losses = [whole.epoch(IMAGES, LABELS) for _ in range(5)]
    for _ in range(3):
        first.epoch(IMAGES, LABELS)
    write_snapshot(tmp_path / "snapshot.pt", first.snapshot())
    first.epoch(IMAGES, LABELS)  # What comes after the snapshot must not reach it.

    second.restore(read_snapshot(tmp_path / "snapshot.pt"))
    assert second.epochs_done == 3
    assert [second.epoch(IMAGES, LABELS) for _ in range(2)] == losses[3:]
    ends = [t.model.state_dict() for t in (whole, second)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_an_inherited_optimiser_keeps_its_momentum_and_learning_rate():
    config = TrainingConfig(
        epochs=2, learning_rate=0.1, optimizer="sgd", schedule="multistep", milestones=(1,)
    )
    parent = Trainer(network(), len(IMAGES), config, generator=generator())
    for _ in range(2):
        parent.epoch(IMAGES, LABELS)
    child = Trainer(network(1), len(IMAGES), config, generator=torch.Generator().manual_seed(9))
    child.inherit(parent.snapshot())
    assert child.epochs_done == 0
    assert child.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    first, second = (next(iter(t.trained.values())) for t in (parent, child))
    assert torch.equal(first, second)
    momentum = [
        t.optimizer.state[p]["momentum_buffer"] for t, p in ((parent, first), (child, second))
    ]
    assert torch.equal(*momentum)
    assert momentum[0].any()


def test_the_learning_rate_falls_after_each_milestone():
    config = TrainingConfig(
        epochs=4,
        batch_size=16,
        learning_rate=1.0,
        optimizer="sgd",
        schedule="multistep",
        milestones=(1, 3),
        factor=0.5,
    )
    trainer = Trainer(nn.Linear(2, 3), 40, config, generator=generator())
    rates = []
    for _ in range(4):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.epoch(torch.zeros(40, 2), torch.zeros(40, dtype=torch.long))
    assert rates == [1.0, 0.5, 0.5, 0.25]


def test_milestones_and_their_schedule_come_together():
    for options in ({"schedule": "multistep"}, {"milestones": (3,)}):
        with pytest.raises(ValueError, match="milestones belong to the schedule multistep"):
            TrainingConfig(epochs=1, learning_rate=0.1, **options)


def test_ascent_raises_the_loss_and_a_mask_keeps_the_rest():
    config = TrainingConfig(epochs=2, learning_rate=0.05, optimizer="sgd", schedule="constant")
    model = network()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    mask = {n: torch.rand(p.shape, generator=generator()) < 0.5 for n, p in before.items()}
    trainer = Trainer(model, len(IMAGES), config, generator=generator())
    losses = [trainer.epoch(IMAGES, LABELS, ascend=True, mask=mask) for _ in range(5)]
    assert losses[-1] > losses[0] + 0.1
    changed = {name: p != before[name] for name, p in model.named_parameters()}
    assert not any((changed[name] & ~mask[name]).any() for name in mask)
    assert all(changed[name].any() for name in ("0.weight", "3.weight"))


def test_crops_are_shifts_over_black_and_half_are_mirrored():
    images = torch.rand(200, 2, 5, 6, generator=generator()) + 0.1
    changed = crop_and_flip(images, margin=2, generator=generator())
    padded = nn.functional.pad(images, [2] * 4)
    n_mirrored = 0
    for image, frame in zip(changed, padded, strict=True):
        windows = [frame[:, r : r + 5, c : c + 6] for r in range(5) for c in range(5)]
        straight = any(torch.equal(image, window) for window in windows)
        mirrored = any(torch.equal(image, window.flip(2)) for window in windows)
        assert straight or mirrored
        n_mirrored += mirrored
    assert 70 < n_mirrored < 130
    again = crop_and_flip(images, margin=2, generator=generator())
    assert torch.equal(changed, again)
