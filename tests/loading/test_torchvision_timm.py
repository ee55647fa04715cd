import hashlib
import logging
import sys

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from modelgif.loading.checkpoint import weights_sha256
from modelgif.loading.load import load_model

IMAGENET_MEAN = [0.485, 0.456, 0.406]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("a test must not fetch anything")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.mark.parametrize(
    "address", ["torchvision:mobilenet_v3_small?num_classes=10", "timm:resnet10t?num_classes=10"]
)
def test_random_weights_come_from_the_seed_and_say_so(address, caplog):
    state = torch.random.get_rng_state()
    with caplog.at_level(logging.WARNING, logger="modelgif"):
        first = load_model(address)
    assert "has random weights; ask for trained ones with" in caplog.text
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    assert weights_sha256(load_model(f"{address}&seed=0")) == weights_sha256(first)
    assert weights_sha256(load_model(f"{address}&seed=1")) != weights_sha256(first)
    assert first(torch.rand(1, 3, 64, 64)).shape == (1, 10)
    assert first.preprocessing == {}


def test_torchvision_is_built_with_its_own_arguments():
    model = load_model("torchvision:resnet18?width_per_group=64&zero_init_residual=true")
    assert not model.network.state_dict()["layer1.0.bn2.weight"].any()


def test_a_random_network_fetches_no_backbone():
    # Left alone, torchvision would download the backbone's weights.
    load_model("torchvision:lraspp_mobilenet_v3_large?num_classes=2")


@pytest.fixture
def torchvision_cache(monkeypatch, tmp_path):
    """Made-up trained weights of mobilenet_v3_small in torch's hub folder, by their own hash."""
    weights = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    network = load_model("torchvision:mobilenet_v3_small?seed=7").network
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    file = (folder / "new.pth").rename(folder / f"mobile-{digest[:8]}.pth")
    monkeypatch.setattr(weights.value, "url", f"https://example.org/{file.name}")
    return network, file


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DEFAULT", "IMAGENET1K_V1", "MobileNet_V3_Small_Weights.DEFAULT"])
def test_torchvision_weights_are_taken_from_the_cache(torchvision_cache, caplog, name):
    network, _ = torchvision_cache
    caplog.clear()
    model = load_model(f"torchvision:mobilenet_v3_small?weights={name}")
    assert weights_sha256(model) == weights_sha256(network)
    assert model.preprocessing["mean"] == IMAGENET_MEAN
    assert model.preprocessing["size"] == [224, 224]
    assert not caplog.text
    own = load_model("torchvision:mobilenet_v3_small?weights=DEFAULT&size=32&mean=0&std=1")
    assert own.preprocessing == {"mean": [0], "std": [1], "size": [32, 32]}


def test_damaged_torchvision_weights_are_refused(torchvision_cache):
    _, file = torchvision_cache
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ValueError, match=rf"{file.name} is damaged.*download=True"):
        load_model("torchvision:mobilenet_v3_small?weights=DEFAULT", download=True)


def test_absent_torchvision_weights_name_file_folder_and_way_out(tmp_path):
    message = r"resnet18-\w+\.pth are not in .*torch/hub/checkpoints.*download=True"
    with pytest.raises(FileNotFoundError, match=message):
        load_model("torchvision:resnet18?weights=DEFAULT")
    with pytest.raises(ValueError, match="a test must not fetch anything"):
        load_model("torchvision:resnet18?weights=DEFAULT", download=True)


def test_timm_weights_are_taken_from_the_cache(tmp_path, caplog):
    network = timm.create_model("resnet10t")
    repository = tmp_path / "hf" / "models--timm--resnet10t.c3_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    save_file(network.state_dict(), repository / "snapshots" / "abc" / "model.safetensors")
    model = load_model("timm:resnet10t?pretrained=true")
    assert weights_sha256(model) == weights_sha256(network)
    assert model.preprocessing["mean"] == IMAGENET_MEAN
    assert model.preprocessing["size"] == [176, 176]
    assert not caplog.text
    load_model("timm:resnet10t.c3_in1k?pretrained=true&num_classes=0")
    assert not caplog.text
    load_model("timm:resnet10t?pretrained=true&num_classes=10")
    assert "trained head has 1000 classes, so this one has random weights" in caplog.text


def test_absent_timm_weights_name_repository_folder_and_way_out():
    message = r"model\.safetensors of timm/resnet10t\.c3_in1k are not in .*hf.*download=True"
    with pytest.raises(FileNotFoundError, match=message):
        load_model("timm:resnet10t?pretrained=true")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("torchvision:resnet81", "torchvision has no model 'resnet81'. Did you mean .*resnet18"),
        ("timm:resnet10tt", "timm has no model 'resnet10tt'. Did you mean resnet10t"),
        ("timm:resnet10t.c3_in2k", "Did you mean resnet10t.c3_in1k"),
        ("timm:hf-hub:owner/model", "timm has no model 'hf-hub:owner/model'"),
        (
            "torchvision:resnet18?weights=IMAGENET1K_V2",
            "has the weights IMAGENET1K_V1, DEFAULT, got",
        ),
        ("torchvision:resnet18?num_clases=3", "resnet18.num_clases=3 cannot be built: TypeError"),
        ("torchvision:resnet18?seed=x", "seed must be an integer, got 'x'"),
        ("torchvision:resnet18?pretrained=true", "must not say pretrained: .*weights=DEFAULT"),
        ("torchvision:fcn_resnet50?weights_backbone=DEFAULT", "must not say weights_backbone"),
        ("timm:resnet10t?checkpoint_path=/etc/secret.pth", "must not say checkpoint_path"),
        ("timm:resnet10t?pretrained_cfg_overlay={'file':'x'}", "must not say pretrained_cfg_over"),
        ("timm:resnetv2_50d?pretrained=true", "no trained weights of resnetv2_50d: leave out pre"),
    ],
)
def test_wrong_names_and_arguments_are_refused(address, message):
    with pytest.raises(ValueError, match=message):
        load_model(address)


@pytest.mark.parametrize(("library", "extra"), [("torchvision", "experiments"), ("timm", "timm")])
def test_a_missing_library_is_named_with_the_way_out(library, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"need {library}: pip install 'modelgif\[{extra}\]'"):
        load_model(f"{library}:resnet18")
