"""The testbed of model selection: what each kind of pretraining asks and learns."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from model_selection.pretraining.classification import ORDERS, rotations, shuffled_quarters
from model_selection.pretraining.comparing import (
    BYOL,
    cross_correlation_loss,
    nt_xent,
    partners,
)
from model_selection.pretraining.learn import held_out_figure, learn
from model_selection.pretraining.make import make_pretext
from model_selection.pretraining.reconstruction import Denoising, Inpainting, masked_error
from model_selection.pretraining.views import random_views
from model_selection.pretraining_config import (
    AutoencodingConfig,
    BarlowTwinsConfig,
    BYOLConfig,
    DenoisingConfig,
    InpaintingConfig,
    JigsawConfig,
    RotationConfig,
    SimCLRConfig,
    SupervisedConfig,
    ViewsConfig,
)
from modelgif.data.data import load_data
from modelgif.experiment.networks import convnet
from modelgif.experiment.training import TrainingConfig

TRAINING = TrainingConfig(epochs=6, batch_size=64, learning_rate=0.005)
VIEWS = ViewsConfig(smallest=0.7, flip=False, jitter=0.2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed))


def backbone(n_features=16, side=8):
    """A small network that gives features; its weights are the seed's."""
    torch.manual_seed(3)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * side * side, n_features), nn.ReLU())


# --- what is asked ---------------------------------------------------------------------------


def test_rotations_are_numpys():
    images = random(5, 2, 6, 6)
    turned, turns = rotations(images)
    assert turns.tolist() == [k for k in range(4) for _ in range(5)]
    for row, (image, k) in enumerate(zip(turned, turns.tolist(), strict=True)):
        expected = np.rot90(images[row % 5].numpy(), k, axes=(1, 2))
        np.testing.assert_array_equal(image.numpy(), expected)
    with pytest.raises(ValueError, match=r"only square images can be rotated, got \[1, 1, 6, 4\]"):
        rotations(random(1, 1, 6, 4))


def test_quarters_go_where_the_order_says():
    images = random(len(ORDERS), 3, 4, 6)
    shuffled = shuffled_quarters(images, torch.arange(len(ORDERS)))
    assert len(set(ORDERS)) == math.factorial(4)
    for image, moved, order in zip(images, shuffled, ORDERS, strict=True):
        quarters = [image[:, y : y + 2, x : x + 3] for y in (0, 2) for x in (0, 3)]
        top = torch.cat([quarters[order[0]], quarters[order[1]]], dim=2)
        bottom = torch.cat([quarters[order[2]], quarters[order[3]]], dim=2)
        assert torch.equal(moved, torch.cat([top, bottom], dim=1))
    assert torch.equal(shuffled_quarters(images, torch.zeros(24, dtype=torch.int64)), images)
    with pytest.raises(ValueError, match="only images of even sides have quarters"):
        shuffled_quarters(random(1, 1, 5, 4), torch.tensor([0]))


def test_a_view_of_everything_is_the_image():
    images = random(6, 1, 8, 8)
    still = ViewsConfig(smallest=1.0, flip=False, jitter=0.0)
    torch.testing.assert_close(random_views(images, still, generator=generator()), images)
    mirrored = random_views(images, ViewsConfig(smallest=1.0, jitter=0.0), generator=generator())
    kinds = [
        [torch.allclose(view, kind, atol=1e-5) for kind in (image, image.flip(2))]
        for view, image in zip(mirrored, images, strict=True)
    ]
    assert all(sum(kind) == 1 for kind in kinds)
    assert {kind.index(True) for kind in kinds} == {0, 1}


def test_views_are_squares_of_the_image_in_another_light():
    # A slope from left to right: a view of it is a slope again, of `side` the steepness.
    slope = torch.linspace(0.3, 0.6, 16).expand(200, 1, 16, 16)
    config = ViewsConfig(smallest=0.5, flip=False, jitter=0.0)
    views = random_views(slope, config, generator=generator())
    inner = views[:, 0, :, 2:-2]
    steps = inner.diff(dim=2)
    side = steps.mean((1, 2)) / (0.3 / 15)
    torch.testing.assert_close(steps, steps.mean((1, 2), keepdim=True).expand_as(steps))
    assert 0.5 <= side.min() < 0.52
    assert 0.98 < side.max() <= 1.0 + 1e-4
    assert views.min() >= 0.3 - 1e-6
    assert views.max() <= 0.6 + 1e-6
    light = ViewsConfig(smallest=1.0, flip=False, jitter=0.2)
    moved = random_views(slope, light, generator=generator())
    factors = (moved[:, 0, 0, -1] - moved[:, 0, 0, 0]) / 0.3
    shifts = moved.mean((1, 2, 3)) - 0.45
    for values, middle in ((factors, 1.0), (shifts, 0.0)):
        assert middle - 0.2 <= values.min() < middle - 0.18
        assert middle + 0.18 < values.max() <= middle + 0.2 + 1e-6


def test_noise_and_holes_are_as_large_as_asked_for():
    images = random(300, 1, 10, 8)
    mean = images.mean(0)
    noisy, wanted = Denoising(backbone(), 16, mean, 0.4).corrupt(images, generator())
    assert wanted.all()
    assert (noisy - images).std().item() == pytest.approx(0.4, rel=0.02)
    corrupted, hidden = Inpainting(backbone(), 16, mean, 0.5).corrupt(images, generator())
    assert hidden.shape == images.shape
    assert (hidden.sum((1, 2, 3)) == 5 * 4).all()
    assert (corrupted[hidden] == 0.5).all()
    assert torch.equal(corrupted[~hidden], images[~hidden])
    # Every place that the hole fits in, and each a rectangle.
    corners = {tuple(h[0].nonzero().min(0).values.tolist()) for h in hidden}
    assert corners == {(y, x) for y in range(6) for x in range(5)}
    for h in hidden[:20]:
        y, x = h[0].nonzero().min(0).values
        assert h[0, y : y + 5, x : x + 4].all()


# --- losses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_is_equation_1(temperature):
    first, second = random(7, 5, seed=1).double() - 0.5, random(7, 5, seed=2).double() - 0.5
    vectors = [*first.numpy(), *second.numpy()]
    n, total = len(vectors), 0.0
    for i in range(n):
        j = (i + 7) % n

        def similarity(k, i=i):
            a, b = vectors[i], vectors[k]
            return math.exp(a @ b / math.sqrt((a @ a) * (b @ b)) / temperature)

        total -= math.log(similarity(j) / sum(similarity(k) for k in range(n) if k != i))
    found = nt_xent(first, second, temperature=temperature)
    assert found.item() == pytest.approx(total / n, rel=1e-12)
    assert partners(3, torch.device("cpu")).tolist() == [3, 4, 5, 0, 1, 2]


def test_the_cross_correlation_loss_is_numpys():
    first, second = random(20, 4, seed=1).double(), random(20, 4, seed=2).double()
    both = np.corrcoef(first.numpy().T, second.numpy().T)[:4, 4:]
    total = sum(
        (1 - both[i, j]) ** 2 if i == j else 0.01 * both[i, j] ** 2
        for i in range(4)
        for j in range(4)
    )
    found = cross_correlation_loss(first, second, redundancy=0.01)
    assert found.item() == pytest.approx(total, rel=1e-12)
    # The scale and place of a number do not matter; one that never varies agrees with none.
    scaled = cross_correlation_loss(3 * first + 1, second, redundancy=0.01)
    assert scaled.item() == pytest.approx(total, rel=1e-9)
    assert cross_correlation_loss(torch.ones(5, 3), random(5, 3), redundancy=1.0) == 3.0


def test_byol_compares_with_a_slow_average_that_no_gradient_reaches():
    byol = BYOL(backbone(), 16, BYOLConfig(**GROUP, pretraining="byol", momentum=0.9)).double()
    first, second = random(12, 1, 8, 8, seed=1).double(), random(12, 1, 8, 8, seed=2).double()
    views = torch.cat([first, second])
    said = byol.prediction(byol.projection(byol.network(views))).detach().numpy()
    wanted = byol.target(views).numpy()
    total = 0.0
    for i in range(24):
        a, b = said[i], wanted[(i + 12) % 24]
        total += 2 - 2 * (a @ b) / math.sqrt((a @ a) * (b @ b))
    loss = byol.compare(first, second)
    assert loss.item() == pytest.approx(2 * total / 24, rel=1e-9)
    loss.backward()
    assert all(p.grad is None for p in byol.target.parameters())
    assert all(p.grad is not None for p in byol.network.parameters())
    before = [p.clone() for p in byol.target.parameters()]
    with torch.no_grad():
        for p in (*byol.network.parameters(), *byol.projection.parameters()):
            p += 1.0
    byol.after_step()
    for old, new in zip(before, byol.target.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * (old + 1.0))


def test_only_the_hidden_pixels_count():
    drawn, images = random(4, 1, 5, 5, seed=1), random(4, 1, 5, 5, seed=2)
    wanted = random(4, 1, 5, 5, seed=3) < 0.3
    expected = F.mse_loss(drawn[wanted].double(), images[wanted].double())
    assert masked_error(drawn, images, wanted).item() == pytest.approx(expected.item(), rel=1e-6)


# --- learning --------------------------------------------------------------------------------

GROUP = {"architectures": ("convnet",), "training": TRAINING}
CASES = {
    "supervised": SupervisedConfig(pretraining="supervised", **GROUP),
    "rotation": RotationConfig(pretraining="rotation", **GROUP),
    "jigsaw": JigsawConfig(pretraining="jigsaw", **GROUP),
    "simclr": SimCLRConfig(pretraining="simclr", views=VIEWS, **GROUP),
    "barlow_twins": BarlowTwinsConfig(pretraining="barlow_twins", views=VIEWS, **GROUP),
    "byol": BYOLConfig(pretraining="byol", views=VIEWS, **GROUP),
    "autoencoding": AutoencodingConfig(pretraining="autoencoding", **GROUP),
    "denoising": DenoisingConfig(pretraining="denoising", **GROUP),
    "inpainting": InpaintingConfig(pretraining="inpainting", **GROUP),
}


def pretrained(name, network):
    data = load_data("digits")
    torch.manual_seed(1)
    pretext = make_pretext(CASES[name], network, 16, data.train_images.mean(0))
    held_out = data.test_images, data.test_labels
    before = held_out_figure(pretext, *held_out, generator=generator(9))
    images, labels = data.train_images[:500], data.train_labels[:500]
    loss = learn(pretext, images, labels, TRAINING, generator=generator(5))
    assert math.isfinite(loss)
    assert not pretext.training
    return pretext, before, held_out_figure(pretext, *held_out, generator=generator(9))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_pretraining_learns_and_the_same_every_time(name):
    networks = [convnet(1, 10, width=8) if name == "supervised" else backbone() for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    start = {key: tensor.clone() for key, tensor in networks[0].state_dict().items()}
    (first, before, after), (second, *again) = (pretrained(name, network) for network in networks)
    assert again == [before, after]
    states = first.state_dict(), second.state_dict()
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())
    # The kept network itself has learnt, not the heads alone.
    assert any(not torch.equal(t, start[k]) for k, t in first.network.state_dict().items())
    assert before.quantity == after.quantity
    assert before.plain == pytest.approx(after.plain)
    if after.quantity == "squared_error":
        assert after.value < 0.9 * after.plain < 0.9 * before.value
    else:
        assert after.value > max(1.2 * before.value, 2 * after.plain)


def test_learning_that_diverges_says_so():
    config = TrainingConfig(epochs=2, optimizer="sgd", learning_rate=1e12, schedule="constant")
    pretext = make_pretext(CASES["autoencoding"], backbone(), 16, torch.zeros(1, 8, 8))
    with pytest.raises(RuntimeError, match="of pretraining: it diverged; lower learning_rate"):
        learn(pretext, random(80, 1, 8, 8), torch.zeros(80).long(), config, generator=generator())


def test_no_batch_is_left_with_one_image():
    # BatchNorm in the projections refuses a batch of one: 65 images in batches of 64.
    pretext = make_pretext(CASES["simclr"], backbone(), 16, torch.zeros(1, 8, 8))
    images, labels = random(65, 1, 8, 8), torch.zeros(65).long()
    config = TrainingConfig(epochs=1, batch_size=64, learning_rate=0.001)
    assert math.isfinite(learn(pretext, images, labels, config, generator=generator()))
