"""Adversarial training."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from modelgif.experiment.adversarial_training import train_adversarially
from modelgif.experiment.augmentation import crop_and_flip
from modelgif.experiment.training import TrainingConfig, predict, train
from modelgif.loading.preprocessing import Preprocessed
from modelgif.references.adversarial import pgd

CONFIG = TrainingConfig(epochs=3, batch_size=16, learning_rate=0.05)


def seeded(number):
    return torch.Generator().manual_seed(number)


def linear():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(1)) / 10)
    return model


@pytest.fixture
def images():
    return torch.rand(70, 1, 4, 4, generator=seeded(2))


@pytest.fixture
def labels(images):
    return images.flatten(1)[:, :3].argmax(1)


@pytest.mark.parametrize("augmentation", ["none", "crop_and_flip"])
def test_an_attack_that_does_nothing_makes_it_plain_training(images, labels, augmentation):
    config = CONFIG.model_copy(update={"augmentation": augmentation})
    plain, hardened = linear(), linear()
    expected = train(plain, images, labels, config, generator=seeded(4))
    loss = train_adversarially(
        hardened, images, labels, config, lambda model, x, y: x, generator=seeded(4)
    )
    assert loss == pytest.approx(expected, abs=1e-6)
    for one, other in zip(plain.parameters(), hardened.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_the_attack_sees_the_model_as_it_is_in_evaluation_mode(images, labels):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    seen = []

    def attack(attacked, x, y):
        assert attacked is model
        assert not attacked.training
        seen.append((x, y, attacked[3].weight.detach().clone()))
        return x

    train_adversarially(model, images, labels, CONFIG, attack, generator=seeded(4))
    assert not model.training
    assert len(seen) == 3 * 5
    assert all(len(x) == len(y) for x, y, _ in seen)
    assert sum(len(x) for x, *_ in seen[:5]) == 70
    assert all(not one[2].equal(other[2]) for one, other in pairwise(seen))


def test_the_hostile_half_is_learnt(images, labels):
    """Whatever the images say, the attack's answers decide what all-black images are."""
    model = linear()
    black = partial(lambda model, x, y: torch.zeros_like(x))
    ones = torch.ones_like(labels)
    train_adversarially(model, images[:48], ones[:48], CONFIG, black, generator=seeded(4))
    assert model(torch.zeros(1, 1, 4, 4)).argmax() == 1


@pytest.mark.slow
def test_it_makes_a_model_robust():
    """One pixel says the class by 0.2, fifteen others by 0.02 each, less than an attack's 0.06."""
    labels = torch.arange(400) % 2
    side = (2 * labels - 1).float()[:, None]
    images = 0.5 + 0.02 * side * torch.ones(400, 16)
    images[:, 0] = 0.5 + 0.2 * side[:, 0]
    images = (images + 0.01 * torch.randn(400, 16, generator=seeded(1))).reshape(-1, 1, 4, 4)
    attack = partial(pgd, epsilon=0.06, step_size=0.03, n_steps=5)
    config = TrainingConfig(epochs=150, batch_size=400, learning_rate=0.05)
    robust = {}
    for name in ("plain", "adversarial"):
        model = Preprocessed(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), mean=0.5, std=1.0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        if name == "plain":
            train(model, images, labels, config, generator=seeded(3))
        else:
            against = partial(attack, generator=seeded(5))
            train_adversarially(model, images, labels, config, against, generator=seeded(3))
        assert (predict(model, images).argmax(1) == labels).double().mean() == 1
        hostile = attack(model, images, labels, generator=seeded(6))
        robust[name] = (predict(model, hostile).argmax(1) == labels).double().mean().item()
    assert robust["plain"] < 0.5
    assert robust["adversarial"] == 1


def test_divergence_and_nothing_to_train_are_errors(images, labels):
    wild = CONFIG.model_copy(update={"optimizer": "sgd", "learning_rate": 3e38})
    same = lambda model, x, y: x  # noqa: E731
    with pytest.raises(RuntimeError, match=r"loss is (nan|inf) in epoch . of adversarial"):
        train_adversarially(linear(), images, labels, wild, same, generator=seeded(0))
    frozen = linear().requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        train_adversarially(frozen, images, labels, CONFIG, same, generator=seeded(0))


def test_augmentation_comes_before_the_attack(images, labels):
    config = CONFIG.model_copy(update={"augmentation": "crop_and_flip", "epochs": 1})
    seen = []

    def attack(model, x, y):
        seen.append(x)
        return x

    train_adversarially(linear(), images, labels, config, attack, generator=seeded(4))
    generator = seeded(4)
    order = torch.randperm(70, generator=generator)
    expected = crop_and_flip(images[order[:16]], generator=generator)
    assert torch.equal(seen[0], expected)
