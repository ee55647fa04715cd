from dataclasses import replace

import pytest
import torch
from torch import nn

from modelgif.data.data import load_data
from modelgif.experiment.starting_network import (
    architecture_address,
    require_same_network,
    starting_network,
)
from modelgif.loading.checkpoint import read_card, weights_sha256, write_checkpoint
from modelgif.loading.load import load_model

NETWORK = "python:modelgif.experiment.networks:convnet?in_channels=1&width=4"


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


@pytest.fixture
def checkpoint(tmp_path):
    def write(n_classes, preprocessing=None):
        architecture = f"{NETWORK}&num_classes={n_classes}"
        card = {"architecture": architecture, "preprocessing": preprocessing or {}}
        path = tmp_path / f"model{n_classes}.safetensors"
        write_checkpoint(path, load_model(f"{architecture}&seed=5").network, card)
        return path

    return write


def fixed(num_channels=1):
    """A network whose number of classes cannot be chosen."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * num_channels, 4))


def stubborn(num_classes=4):
    """A network that takes a number of classes, and has 4 all the same."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("torchvision:resnet18?weights=DEFAULT", "torchvision:resnet18"),
        ("torchvision:resnet18?num_classes=7&seed=3&size=64", "torchvision:resnet18?num_classes=7"),
        ("timm:resnet18.a1_in1k?pretrained=true&in_chans=1", "timm:resnet18.a1_in1k?in_chans=1"),
        ("python:a.b:c?weights=2&mean=0.5&std=1", "python:a.b:c?weights=2"),
        ("file:x.pt?architecture=timm:vgg11%3Fnum_classes=3", "timm:vgg11?num_classes=3"),
    ],
)
def test_an_address_says_the_architecture(address, expected):
    assert architecture_address(address) == expected


def test_a_card_says_the_architecture(checkpoint):
    assert architecture_address(f"file:{checkpoint(10)}") == f"{NETWORK}&num_classes=10"


@pytest.mark.parametrize("address", ["hf:microsoft/resnet-18", "export:m.pt2", "hub:a/b:c"])
def test_a_model_without_an_architecture_is_refused(address):
    with pytest.raises(ValueError, match="does not say which architecture to train"):
        architecture_address(address)


def test_random_weights_come_from_the_seed(digits, caplog):
    start = starting_network(f"{NETWORK}&num_classes=10", digits)
    state = torch.get_rng_state()
    a, b, again = start.build(10**9), start.build(10**9 + 1), start.build(10**9)
    assert torch.equal(torch.get_rng_state(), state)
    assert weights_sha256(a) == weights_sha256(again) != weights_sha256(b)
    expected = load_model(f"{NETWORK}&num_classes=10&seed={10**9}")
    assert weights_sha256(a) == weights_sha256(expected)
    assert (start.replaced, start.ancestor) == ((), None)
    images = digits.train_images
    assert a.preprocessing["mean"] == pytest.approx([images.mean().item()])
    assert a.preprocessing["std"] == pytest.approx([images.std().item()])


def test_library_networks_do_not_ask_for_trained_weights(digits, caplog):
    data = replace(
        digits,
        train_images=torch.rand(10, 3, 32, 32),
        train_labels=torch.arange(10),
        test_images=torch.rand(2, 3, 32, 32),
        test_labels=torch.tensor([0, 1]),
    )
    start = starting_network("torchvision:squeezenet1_1", data)
    assert start.architecture == "torchvision:squeezenet1_1?num_classes=10"
    assert start.n_classes_before == 1000
    assert start.build(1)(data.test_images).shape == (2, 10)
    assert not caplog.records


def test_an_ancestor_gives_its_weights_and_preprocessing(digits, checkpoint):
    path = checkpoint(10, {"mean": [0.2], "std": [0.7]})
    start = starting_network(f"file:{path}", digits, fine_tune=True)
    built = start.build(1)
    assert weights_sha256(built) == start.ancestor_sha256 == read_card(path)["weights_sha256"]
    assert built.preprocessing == {"mean": [0.2], "std": [0.7]}
    assert start.replaced == ()
    plain = starting_network(f"file:{checkpoint(10)}", digits, fine_tune=True)
    assert plain.preprocessing == {}
    unlike = starting_network(f"file:{path}", digits).build(1)
    assert weights_sha256(unlike) != start.ancestor_sha256


def test_another_number_of_classes_replaces_the_head_alone(digits, checkpoint):
    path = checkpoint(7)
    start = starting_network(f"file:{path}", digits, fine_tune=True)
    assert (start.n_classes_before, start.n_classes, start.replaced) == (7, 10, ("head",))
    assert start.architecture == f"{NETWORK}&num_classes=10"
    ancestor, a, b = (
        m.network.state_dict() for m in (load_model(f"file:{path}"), *map(start.build, (1, 2)))
    )
    for name, weight in ancestor.items():
        if not name.startswith("head."):
            assert torch.equal(a[name], weight)
    assert a["head.weight"].shape == (10, 8)
    assert not torch.equal(a["head.weight"], b["head.weight"])


def test_networks_that_do_not_fit_are_refused(digits):
    with pytest.raises(ValueError, match=r"does not take the images, which are \[1, 8, 8\]"):
        starting_network(
            f"{NETWORK.replace('in_channels=1', 'in_channels=3')}&num_classes=10", digits
        )
    with pytest.raises(ValueError, match="has 4 classes, the images 10, and the architecture"):
        starting_network(f"python:{__name__}:fixed", digits)
    with pytest.raises(ValueError, match="must have 10 classes, as the images have, got 4"):
        starting_network(f"python:{__name__}:stubborn", digits)


@pytest.mark.parametrize("address", ["torchvision:resnet18", "timm:resnet18?pretrained=false"])
def test_random_weights_are_no_ancestor(address, digits):
    with pytest.raises(ValueError, match="has random weights, which no model descends from: ask"):
        starting_network(address, digits, fine_tune=True)


def test_a_card_may_run_trusted_code_alone(digits, tmp_path):
    path = tmp_path / "foreign.safetensors"
    write_checkpoint(path, fixed(), {"architecture": f"python:{__name__}:fixed"})
    with pytest.raises(ValueError, match="cards may run functions of"):
        starting_network(f"file:{path}", digits)


def test_an_ancestor_of_another_architecture_is_refused(digits, checkpoint):
    ancestor = starting_network(f"file:{checkpoint(7)}", digits, fine_tune=True)
    require_same_network(ancestor, starting_network(f"file:{checkpoint(10)}", digits))
    wider = starting_network(f"{NETWORK.replace('width=4', 'width=5')}&num_classes=3", digits)
    with pytest.raises(ValueError, match="but 7 weights differ, features.0.weight first"):
        require_same_network(ancestor, wider)
