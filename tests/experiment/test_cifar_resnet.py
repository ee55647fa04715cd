"""The CIFAR networks against the published one's names, shapes and outputs."""

import json

import pytest
import torch

from modelgif.experiment.cifar_resnet import resnet8, resnet20
from modelgif.loading.checkpoint import write_checkpoint
from modelgif.loading.load import load_model


@pytest.fixture(scope="module")
def published(golden):
    return json.loads((golden / "cifar_resnet20.json").read_text(encoding="utf-8"))


def waves(tensor, phase):
    return torch.sin(0.37 * torch.arange(tensor.numel(), dtype=torch.float64) + phase)


def test_weights_have_the_published_names_and_shapes(published):
    state = resnet20().state_dict()
    assert [[name, list(value.shape)] for name, value in state.items()] == published["state_dict"]


def test_outputs_are_the_published_ones(published):
    model = resnet20().double().eval()
    for i, (name, value) in enumerate(model.state_dict().items()):
        if not value.is_floating_point():
            continue
        wave = waves(value, i)
        if name.endswith("running_var"):
            wave = 1 + 0.5 * wave
        elif value.ndim >= 2:
            wave = wave / value[0].numel() ** 0.5
        else:
            wave = 1 + 0.1 * wave if name.endswith("weight") else 0.1 * wave
        value.copy_(wave.reshape(value.shape))
    size = published["input_shape"]
    images = torch.sin(0.11 * torch.arange(torch.Size(size).numel(), dtype=torch.float64))
    with torch.no_grad():
        logits = model(images.reshape(size))
    torch.testing.assert_close(
        logits, torch.tensor(published["output"], dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(("make", "n_layers"), [(resnet8, 8), (resnet20, 20)])
def test_width_and_channels_are_arguments(make, n_layers):
    model = make(num_classes=7, in_channels=1, width=6)
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == n_layers
    assert model(torch.rand(3, 1, 9, 10)).shape == (3, 7)
    assert [len(model.get_parameter(f"layer{i}.0.conv1.weight")) for i in (1, 2, 3)] == [6, 12, 24]


def test_a_card_may_name_it(tmp_path):
    address = "python:modelgif.experiment.cifar_resnet:resnet8?width=4&in_channels=1"
    model = load_model(f"{address}&mean=0.5&std=0.25&seed=3")
    write_checkpoint(tmp_path / "a.safetensors", model, {"architecture": address})
    images = torch.rand(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(load_model(f"file:{tmp_path}/a.safetensors")(images), model(images))
