import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.transforms import functional as transforms

from modelgif.loading.preprocessing import Preprocessed, checked_preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def network():
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(3, 4, 3).double()
    layer.weight.data.normal_(generator=generator)
    return nn.Sequential(layer, nn.Flatten())


@pytest.fixture
def images():
    return torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_it_equals_explicit_preprocessing(network, images):
    ours = Preprocessed(network, mean=MEAN, std=STD, size=(5, 6))(images)
    resized = F.interpolate(images, (5, 6), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    torch.testing.assert_close(ours, network((resized - mean) / std), rtol=0, atol=1e-14)
    theirs = transforms.resize(images, [5, 6], antialias=True)
    theirs = transforms.normalize(theirs, list(MEAN), list(STD))
    torch.testing.assert_close(ours, network(theirs), rtol=0, atol=1e-12)


def test_images_of_the_right_size_are_not_resampled(network, images):
    assert torch.equal(Preprocessed(network, size=(9, 7))(images), network(images))


def test_one_number_serves_every_channel_and_both_sides(network, images):
    alike = Preprocessed(network, mean=0.5, std=0.25, size=8)(images)
    spelled = Preprocessed(network, mean=[0.5] * 3, std=[0.25] * 3, size=[8, 8])(images)
    assert torch.equal(alike, spelled)


def test_without_preprocessing_any_input_passes_unchanged():
    model = Preprocessed(nn.Identity())
    for x in (torch.rand(2, 5), torch.arange(3), torch.rand(1, 2, 3, 4, 5)):
        assert model(x) is x


def test_gradients_are_those_of_pixels(images):
    model = Preprocessed(nn.Identity(), mean=MEAN, std=STD).double()
    pixels = images.requires_grad_()
    (gradient,) = torch.autograd.grad(model(pixels).sum(), pixels)
    expected = (1 / torch.tensor(STD, dtype=torch.float64)).view(1, 3, 1, 1).expand_as(pixels)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=0)


def test_its_state_dict_is_the_networks(network):
    model = Preprocessed(network, mean=MEAN, std=STD, size=4)
    assert set(model.state_dict()) == {f"network.{name}" for name in network.state_dict()}
    assert model.mean is not None
    assert model.mean.shape == (1, 3, 1, 1)
    assert model.mean.dtype == torch.float64
    clone = copy.deepcopy(model)
    assert clone.preprocessing == {"mean": list(MEAN), "std": list(STD), "size": [4, 4]}
    assert clone.mean is not model.mean


def test_resampling_is_stated(network):
    model = Preprocessed(network, mean=MEAN, std=STD, size=(5, 6))
    assert model.resampling(9, 7) == "9×7 resampled to 5×6 (bilinear, antialiased)"
    assert model.resampling(5, 6) == ""
    assert Preprocessed(network).resampling(5, 6) == ""
    assert model.describe(9, 7) == (
        "a model: Sequential of 112 weights in float64, pixels in [0, 1] 9×7 resampled to 5×6 "
        "(bilinear, antialiased), less 0.485 0.456 0.406, over 0.229 0.224 0.225"
    )
    model = Preprocessed(network)
    model.address = "file:mine.safetensors"
    assert model.describe(9, 7) == (
        "file:mine.safetensors: Sequential of 112 weights in float64, pixels in [0, 1] at 9×7"
    )
    assert Preprocessed(nn.Identity()).describe(2, 2) == (
        "a model: Identity of 0 weights, pixels in [0, 1] at 2×2"
    )


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        # Normalisation alone would broadcast one grey channel to three.
        (torch.rand(2, 1, 8, 8), ValueError, r"images \[B, 3, H, W\].*got \[2, 1, 8, 8\]"),
        (torch.rand(3, 8, 8), ValueError, r"got \[3, 8, 8\]"),
        (
            torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
            TypeError,
            "uint8: divide 8-bit images by 255",
        ),
    ],
)
def test_inputs_that_are_no_pixels_are_refused(network, x, error, message):
    with pytest.raises(error, match=message):
        Preprocessed(network, mean=MEAN, std=STD)(x)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0.5], "must map mean, std and size"),
        ({"means": 0.5}, "got 'means'. Did you mean mean?"),
        ({"mean": 0.5}, "given together"),
        ({"mean": [0.5, 0.5], "std": [1]}, "equal lengths"),
        ({"mean": 0, "std": 0}, "std must be positive"),
        ({"mean": "0.5", "std": 1}, "mean must be a list of finite numbers, got '0.5'"),
        ({"mean": [float("nan")], "std": 1}, "finite numbers"),
        ({"mean": [], "std": []}, "finite numbers"),
        ({"size": True}, "finite numbers"),
        ({"size": [1, 2, 3]}, "height and width"),
        ({"size": 0}, "height and width"),
        ({"size": 7.5}, "height and width"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        checked_preprocessing(given)
