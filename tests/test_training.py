import pytest
import torch
from torch import nn

from modelgif.experiment.training import TrainingConfig, predict, train

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
