"""Pruning by magnitude and by activation."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from intellectual_property_protection.models.pruning import (
    channels_of,
    make_permanent,
    mean_activations,
    prune_inactive,
    prune_smallest,
)
from modelgif.experiment.networks import convnet, mobilenet, resnet, vgg
from modelgif.experiment.training import TrainingConfig, train


def seeded(build, *arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = build(*arguments)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
                nn.init.normal_(module.running_mean)
    return model.eval()


@pytest.fixture
def images():
    return torch.rand(40, 1, 10, 10, generator=torch.Generator().manual_seed(3))


LAYERS = (nn.Conv2d, nn.Linear)


def weights_of(model):
    return np.concatenate(
        [m.weight.detach().numpy().ravel() for m in model.modules() if isinstance(m, LAYERS)]
    )


def test_the_smallest_weights_of_all_layers_go_and_others_stay():
    model = seeded(vgg, 1, 10)
    before = weights_of(model)
    prune_smallest(model, 0.3)
    make_permanent(model)
    after = weights_of(model)
    gone = np.argsort(np.abs(before), kind="stable")[: round(0.3 * len(before))]
    expected = before.copy()
    expected[gone] = 0
    assert np.array_equal(after, expected)


@pytest.mark.parametrize("prune", ["smallest", "inactive"])
def test_pruned_stays_pruned_through_training(prune, images):
    model = seeded(vgg, 1, 10)
    if prune == "smallest":
        prune_smallest(model, 0.5)
    else:
        prune_inactive(model, images, 0.5)
    zero = weights_of(model) == 0
    labels = torch.arange(40) % 10
    config = TrainingConfig(epochs=2, learning_rate=0.01)
    train(model, images, labels, config, generator=torch.Generator().manual_seed(0))
    expected = model(images)
    make_permanent(model)
    after = weights_of(model)
    assert zero.sum() > 1000
    assert not after[zero].any()
    assert (after[~zero] != 0).all()
    assert torch.equal(model(images), expected)
    assert not any(name.endswith(("_orig", "_mask")) for name in model.state_dict())


# The convolution that features come from, by its position among the network's convolutions; in
# `resnet` a shortcut without normalisation runs after it.
LAST = {convnet: (2, 3), vgg: (3, 4), mobilenet: (4, 5), resnet: (4, 6)}


@pytest.mark.parametrize("build", LAST, ids=lambda build: build.__name__)
def test_the_least_active_channels_of_the_last_convolution_go(build, images):
    model = seeded(build, 1, 10)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    position, n_convolutions = LAST[build]
    assert len(convolutions) == n_convolutions
    last = convolutions[position]
    following = list(model.modules())[list(model.modules()).index(last) + 1]
    seen = {}
    last.register_forward_hook(lambda module, inputs, output: seen.update(maps=output.detach()))
    with torch.no_grad():
        model(images)
    maps = seen["maps"].double()
    if isinstance(following, nn.BatchNorm2d):
        maps = F.batch_norm(
            maps,
            *(b.double() for b in (following.running_mean, following.running_var)),
            *(p.detach().double() for p in (following.weight, following.bias)),
            eps=following.eps,
        )
    activity = [maps[:, c].clamp(min=0).mean().item() for c in range(maps.shape[1])]
    quietest = set(np.argsort(activity, kind="stable")[: round(0.25 * len(activity))].tolist())

    pruned = copy.deepcopy(model)
    prune_inactive(pruned, images, 0.25)
    weights = [m.weight for m in pruned.modules() if isinstance(m, nn.Conv2d)]
    gone = [{c for c in range(len(w)) if not w[c].any()} for w in weights]
    assert gone[position] == quietest
    assert not any(found for i, found in enumerate(gone) if i != position)
    ((channels, activation),) = [
        (c, a)
        for c, a in zip(
            channels_of(pruned, images[:1]),
            mean_activations(pruned, images, channels_of(pruned, images[:1]), batch_size=7),
            strict=True,
        )
        if c.convolution.weight.shape == weights[position].shape
        and torch.equal(c.convolution.weight, weights[position])
    ]
    assert set(np.flatnonzero(activation.numpy() == 0).tolist()) >= quietest
    assert channels.end(torch.randn(2, len(activation), 4, 4))[
        :, list(quietest)
    ].abs().max() == 0 or (channels.normalisation is None)


def test_activations_do_not_depend_on_the_batch_size(images):
    model = seeded(resnet, 1, 10)
    channels = channels_of(model, images[:1])
    whole = mean_activations(model, images, channels)
    parts = mean_activations(model, images, channels, batch_size=7)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_channels_of_all_layers_are_ranked_together(images):
    model = seeded(vgg, 1, 10)
    found = channels_of(model, images[:1])
    activity = torch.cat(mean_activations(model, images, found)).tolist()
    prune_inactive(model, images, 0.4, layers="all")
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    gone = [not w[c].any() for w in weights for c in range(len(w))]
    cut = sorted(activity)[round(0.4 * len(activity))]
    assert gone == [a < cut for a in activity]
    assert sum(gone) == round(0.4 * 96)


def test_a_small_ratio_takes_one_channel(images):
    model = seeded(convnet, 1, 10)
    prune_inactive(model, images, 0.0002)
    weight = [m for m in model.modules() if isinstance(m, nn.Conv2d)][-1].weight
    assert sum(not channel.any() for channel in weight) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "last", "n_channels", "n_normalised"),
    [
        (models.vgg11_bn, "features.25", 512, 8),
        (models.resnet18, "layer4.1.conv2", 512, 20),
        (models.mobilenet_v2, "features.18.0", 1280, 52),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_last_convolutions_of_torchvision(build, last, n_channels, n_normalised):
    model = build(weights=None, num_classes=10).eval()
    x = torch.rand(1, 3, 32, 32)
    found = channels_of(model, x)
    assert sum(c.normalisation is not None for c in found) == n_normalised == len(found)
    prune_inactive(model, x, 0.5)
    assert sum(not w.any() for w in model.get_submodule(last).weight) == n_channels // 2
