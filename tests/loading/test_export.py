"""Addresses of torch.export archives, which the tests export themselves."""

import copy
import io
import json
import os
import zipfile

import pytest
import torch
from torch import nn
from torch.export import Dim

import modelgif as gif
from modelgif.loading.errors import CheckpointError, UntrustedError
from modelgif.loading.load import load_model


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Tanh(), nn.Flatten()
    network = nn.Sequential(*layers, nn.Linear(4 * 36, 5)).eval()
    network[1].running_mean.uniform_()
    return network


@pytest.fixture
def images():
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def save(tmp_path):
    """Exports a module for `n` images and returns its address and what must be trusted."""

    def export(module, n=2, dynamic=None, dtype=torch.float32):
        example = torch.rand(n, 3, 8, 8, dtype=dtype)
        dynamic_shapes = None if dynamic is None else ({0: dynamic},)
        program = torch.export.export(module, (example,), dynamic_shapes=dynamic_shapes)
        torch.export.save(program, tmp_path / "model.pt2")
        return f"export:{tmp_path / 'model.pt2'}"

    return export


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "dynamic"), [(1, None), (2, None), (4, None), (2, Dim.AUTO), (3, Dim("batch", min=1))]
)
def test_a_graph_computes_what_its_network_did(network, images, save, n, dynamic):
    address = save(network, n, dynamic)
    model = load_model(address, trust=(address,))
    assert model.preprocessing == {"size": [8, 8]}
    torch.testing.assert_close(model(images), network(images))
    torch.testing.assert_close(model(images[:1]), network(images[:1]))
    ours = gif.gradient_field(model, images, n_steps=3, chunk_size=7)
    torch.testing.assert_close(ours, gif.gradient_field(network, images, n_steps=3))
    double = load_model(f"{address}?mean=0.5&std=0.25", trust=(address,), dtype=torch.float64)
    field = gif.gradient_field(double, images, n_steps=3)
    assert field.dtype == torch.float64
    # The network's own size is met by resampling, and said.
    assert double(torch.rand(2, 3, 16, 16, dtype=torch.float64)).shape == (2, 5)
    assert "16×16 resampled to 8×8" in double.describe(16, 16)


def test_a_graph_in_half_precision_is_computed_in_float32(network, images, save):
    half = copy.deepcopy(network).to(torch.bfloat16)
    address = save(half, dynamic=Dim.AUTO, dtype=torch.bfloat16)
    model = load_model(address, trust=(address,))
    torch.testing.assert_close(model(images), half.float()(images))


def test_an_untrusted_archive_is_not_read(network, save):
    address = save(network)
    message = r"is refused: reading an archive of torch\.export can run any code.*trust=\('export:"
    for trust in ((), ("export:",), ("export:other.pt2",), (address.removeprefix("export:"),)):
        with pytest.raises(UntrustedError, match=message):
            load_model(address, trust=trust)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_the_reason_for_refusing_is_real(network, save, tmp_path):
    """A weight replaced by a pickle that makes a folder: refused unread, and live when trusted."""
    address, touched = save(network), tmp_path / "touched"
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    bomb = io.BytesIO()
    torch.save(Bomb(touched), bomb)
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if name.endswith("model_weights_config.json"):
                config = json.loads(value)
                config["config"]["0.bias"] |= {"use_pickle": True, "path_name": "weight_bomb"}
                weights, value = name.rpartition("/")[0], json.dumps(config)
            archive.writestr(name, value)
        archive.writestr(f"{weights}/weight_bomb", bomb.getvalue())
    with pytest.raises(UntrustedError):
        load_model(address)
    assert not touched.exists()
    with pytest.raises(CheckpointError):
        load_model(address, trust=(address,))
    assert touched.exists()


def test_training_mode_is_noticed(network, save):
    network.train()
    address = save(network)
    network.eval()
    with pytest.raises(ValueError, match=r"was exported in training mode \(batch_norm\).*eval"):
        load_model(address, trust=(address,))


def test_a_graph_of_two_inputs_is_refused(tmp_path):
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    program = torch.export.export(Two(), (torch.rand(2, 3), torch.rand(2, 3)))
    torch.export.save(program, tmp_path / "two.pt2")
    address = f"export:{tmp_path / 'two.pt2'}"
    with pytest.raises(ValueError, match="one batch of images, got a graph of 2 inputs"):
        load_model(address, trust=(address,))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "broken.pt2").write_bytes(b"hello")
    for name, message in (
        ("model.pth", r"must end in \.pt2"),
        ("none.pt2", "there is no file"),
        ("broken.pt2", r"cannot be read by torch .*Export the model again"),
    ):
        address = f"export:{tmp_path / name}"
        with pytest.raises(CheckpointError, match=message):
            load_model(address, trust=(address,))
    with pytest.raises(ValueError, match="takes mean, std and size, got 'sizes'.*mean size?"):
        load_model(f"export:{tmp_path / 'broken.pt2'}?sizes=3")
