"""Taskonomy's networks against the published ones' names, shapes and outputs."""

import json

import numpy as np
import pytest
import torch

from modelgif.loading.checkpoint import write_checkpoint
from modelgif.loading.load import load_model
from task_relatedness.learning.taskonomy_networks import Decoder, Encoder, MLPDecoder

# With the step at which the stored output goes through rows and columns.
NETWORKS = {
    "taskonomy_encoder": (Encoder, 1),
    "taskonomy_decoder_tanh_3": (lambda: Decoder(3, tanh=True), 1),
    "taskonomy_decoder_semantic_17": (lambda: Decoder(17), 4),
    "taskonomy_decoder_mlp_1000": (lambda: MLPDecoder(1000), 1),
}


@pytest.fixture(scope="module")
def published(golden):
    names = json.loads((golden / "taskonomy_networks.json").read_text(encoding="utf-8"))
    with np.load(golden / "taskonomy_networks.npz") as outputs:
        return names["networks"], {name: torch.from_numpy(outputs[name]) for name in outputs}


def filled(model):
    """The weights of the recipe that stands beside the names."""
    for i, (name, value) in enumerate(model.state_dict().items()):
        if not value.is_floating_point():
            continue
        wave = torch.sin(0.37 * torch.arange(value.numel(), dtype=torch.float64) + i)
        if name.endswith("running_var"):
            wave = 1 + 0.5 * wave
        elif value.ndim >= 2:
            wave = wave / value[0].numel() ** 0.5
        else:
            wave = 1 + 0.1 * wave if name.endswith("weight") else 0.1 * wave
        value.copy_(wave.reshape(value.shape))
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_names_shapes_and_outputs_are_the_published_ones(published, name):
    (make, step), (facts, outputs) = NETWORKS[name], published
    with torch.device("meta"):
        model = make()
    shapes = [[key, list(value.shape)] for key, value in model.state_dict().items()]
    assert shapes == facts[name]["state_dict"]
    size = facts[name]["input_shape"]
    inputs = torch.sin(0.11 * torch.arange(torch.Size(size).numel(), dtype=torch.float64))
    with torch.no_grad():
        found = filled(model.to_empty(device="cpu").double().eval())(inputs.reshape(size))
    assert list(found.shape) == facts[name]["output_shape"]
    assert outputs[name].count_nonzero() > 0.4 * outputs[name].numel()
    found = found[..., ::step, ::step] if found.ndim == 4 else found
    torch.testing.assert_close(found, outputs[name], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("width", "size"), [(16, 64), (8, 128), (4, 256)])
def test_width_and_size_are_arguments(width, size):
    side = size // 16
    encoder, decoder = Encoder(width).eval(), Decoder(5, width=width).eval()
    mlp = MLPDecoder(7, side=side, width=width).eval()
    with torch.no_grad():
        features = encoder(torch.rand(2, 3, size, size))
        assert features.shape == (2, 8, side, side)
        assert (features >= 0).all()
        assert decoder(features).shape == (2, 5, size, size)
        assert mlp(features).shape == (2, 7)
    assert encoder.conv1.out_channels == width
    assert encoder.compress1.in_channels == 32 * width
    assert decoder.conv2[0].out_channels == 16 * width
    assert decoder.decoder_output[0].in_channels == width // 4


def test_tanh_is_what_bounds_an_image():
    plain, bounded = Decoder(2, width=4).eval(), Decoder(2, width=4, tanh=True).eval()
    bounded.load_state_dict(plain.state_dict())
    features = 9 * torch.randn(2, 8, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(bounded(features), plain(features).tanh())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Encoder(0), "width must be at least 1, got 0"),
        (lambda: Decoder(3, width=6), "width must be a multiple of 4, got 6"),
        (lambda: Decoder(0), "channels must be at least 1, got 0"),
        (lambda: MLPDecoder(3, side=0), "side must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_card_may_name_it(tmp_path):
    address = "python:task_relatedness.learning.taskonomy_networks:encoder?width=4"
    model = load_model(f"{address}&mean=0.5&std=0.5&seed=3")
    write_checkpoint(tmp_path / "a.safetensors", model, {"architecture": address})
    loaded = load_model(
        f"file:{tmp_path}/a.safetensors", trust=("task_relatedness.learning.taskonomy_networks",)
    )
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
        torch.testing.assert_close(loaded(images), loaded.network(2 * images - 1))


def test_every_decoder_has_an_address():
    for address, shape in {
        "decoder?channels=2&width=4&tanh=True": (2, 2, 32, 32),
        "mlp_decoder?channels=3&side=2&width=4": (2, 3),
    }.items():
        model = load_model(f"python:task_relatedness.learning.taskonomy_networks:{address}")
        assert model(torch.rand(2, 8, 2, 2)).shape == shape
