"""The published zoo: names, missing files, refused files, and reading the rest."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune
from torchvision import models

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.member import Member
from intellectual_property_protection.models.published_files import (
    check_published,
    published_file,
    published_files,
)
from intellectual_property_protection.models.published_zoo import (
    PublishedZoo,
    read_published,
    unmasked,
)
from intellectual_property_protection.train import checkpoint_path, train
from modelgif.data.data import load_data
from modelgif.experiment.config import load_config
from modelgif.experiment.networks import convnet
from modelgif.experiment.run import open_run
from modelgif.loading.checkpoint import read_card
from modelgif.loading.errors import CheckpointError
from modelgif.loading.load import load_model


def by_file():
    return {file: member for member, file in published_files().items()}


def test_the_published_names():
    files = by_file()
    assert len(files) == len(published_files()) == 162
    assert len({m.name for m in published_files()}) == 162
    known = {
        "model/vgg_model.pth": ("victim", "scratch", "vgg16_bn", "source"),
        "model/student_model_kd_0.pth": ("suspect", "extract_probability", "vgg13", "source"),
        "model/student_model_1_19.pth": ("suspect", "extract_label", "mobilenet_v2", "source"),
        "model/clean_model_5.pth": ("independent", "scratch", "resnet18", "source"),
        "model/clean_model_14.pth": ("independent", "scratch", "densenet121", "source"),
        "finetune_model/finetune_C_9.pth": ("suspect", "transfer", "vgg16_bn", "cifar100"),
        "finetune_model/CIFAR1000.pth": ("independent", "scratch", "vgg16_bn", "cifar100"),
        "finetune_model/finetune_cifar10c_0.pth": ("suspect", "transfer", "vgg16_bn", "cifar10c"),
        "finetune_model/CIFAR10C_4.pth": ("independent", "scratch", "vgg16_bn", "cifar10c"),
        "finetune_model/CIFAR10C_5.pth": ("independent", "scratch", "resnet18", "cifar10c"),
        "adv_train/adv_10.pth": ("suspect", "extract_adversarial", "densenet121", "source"),
        "Fine-Pruning/prune_model_14.pth": ("suspect", "fine_prune", "vgg16_bn", "source"),
        "finetune_10/finetune9.pth": ("suspect", "finetune_all", "vgg16_bn", "source"),
        "finetune_10/finetune10.pth": ("suspect", "finetune_last", "vgg16_bn", "source"),
        "model/student_model_tk_3.pth": ("surrogate", "extract_probability", "resnet34", "source"),
    }
    for file, expected in known.items():
        m = files[file]
        assert (m.role, m.recipe, m.short_architecture, m.label_set) == expected
    ratios = [files[f"Fine-Pruning/prune_model_{i}.pth"].ratio for i in range(15)]
    assert ratios == pytest.approx([1 / 4224, *(0.05 * i for i in range(1, 15))], abs=1e-4)
    assert files["finetune_model/finetune_C_9.pth"].attack == "transfer_cifar100"
    victims = {m.parent for m in files.values() if m.role in ("suspect", "surrogate")}
    assert victims == {files["model/vgg_model.pth"].name}


def test_missing_files_are_named_once_with_the_way_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        check_published(tmp_path)
    message = str(caught.value)
    assert "162 of the 162 files" in message
    assert "67 in model (vgg_model.pth …)" in message
    assert "https://drive.google.com" in message
    assert "model, finetune_model, adv_train, Fine-Pruning, finetune_10" in message
    assert message.count(str(tmp_path)) == 1
    for file in published_files().values():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    check_published(tmp_path)
    converted = tmp_path / "Fine-Pruning" / "prune_model_3.safetensors"
    (tmp_path / "Fine-Pruning" / "prune_model_3.pth").rename(converted)
    check_published(tmp_path)
    assert published_file(tmp_path, by_file()["Fine-Pruning/prune_model_3.pth"]) == converted
    converted.unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the .*1 in Fine-Pruning \(prune_model_3"):
        check_published(tmp_path)


def test_the_stage_stops_at_missing_files_before_it_reads_any(tmp_path):
    config = load_config(
        *(IPPConfig, "intellectual_property_protection/configs/paper.yaml"),
        [f"published.root={json.dumps(str(tmp_path))}", "device=cpu"],
    )
    run = open_run(config, testbed="intellectual_property_protection", name="p", root=tmp_path)
    with pytest.raises(FileNotFoundError, match="Download the folders"):
        train(run)


def test_a_published_resnet18_is_read_by_its_published_name(tmp_path):
    """The authors replace the head of torchvision's network and save the state dict."""
    network = models.resnet18(weights=None)
    network.fc = nn.Linear(network.fc.in_features, 10)
    (tmp_path / "model").mkdir()
    torch.save(network.state_dict(), tmp_path / "model" / "clean_model_5.pth")
    zoo = PublishedZoo(tmp_path, load_data("digits"), torch.device("cpu"))
    model = zoo.build(by_file()["model/clean_model_5.pth"], None)
    images = torch.rand(2, 3, 32, 32)
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).reshape(1, 3, 1, 1)
    std = torch.tensor([0.2023, 0.1994, 0.2010]).reshape(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model(images), network.eval()((images - mean) / std))


def masked_network():
    torch.manual_seed(0)
    network = convnet(3, 10)
    mask = torch.ones_like(network.features[4].weight)
    mask[5:9] = 0
    prune.custom_from_mask(network.features[4], "weight", mask)
    prune.identity(network.features[0], "weight")
    return network


def test_masks_are_multiplied_in():
    network = masked_network()
    state = unmasked(network.state_dict())
    plain = convnet(3, 10)
    plain.load_state_dict(state)
    assert not plain.features[4].weight[5:9].any()
    images = torch.rand(3, 3, 8, 8)
    assert torch.equal(plain(images), network(images))
    assert unmasked(plain.state_dict()).keys() == plain.state_dict().keys()


def test_whole_modules_are_refused_with_the_way_out(tmp_path):
    path = tmp_path / "prune_model_3.pth"
    torch.save(masked_network(), path)
    with pytest.raises(CheckpointError) as caught:
        read_published(path)
    message = str(caught.value)
    assert "A whole pickled module can run any code when it is loaded, and is refused" in message
    assert "to prune_model_3.safetensors beside it" in message
    assert "FeatureHook" in message
    with pytest.raises(CheckpointError, match="there is no file"):
        read_published(tmp_path / "nothing.pth")


TINY = "python:modelgif.experiment.networks:convnet?in_channels=3"


@pytest.mark.slow
def test_the_stage_reads_a_zoo_of_tiny_files(tmp_path, monkeypatch):
    """Small networks under published names go through the whole stage."""
    members = {
        Member("victim", "victim", "scratch", TINY, data="victim"): "model/vgg_model.pth",
        Member(
            "stolen", "suspect", "finetune_all", TINY, parent="victim"
        ): "finetune_10/finetune0.pth",
        Member(
            *("pruned", "suspect", "fine_prune", TINY, 0.05), parent="victim"
        ): "Fine-Pruning/prune_model_1.pth",
        Member(
            "moved", "suspect", "transfer", TINY, parent="victim", label_set="cifar100"
        ): "finetune_model/finetune_C_0.pth",
    }
    for name in ("models.published_files", "models.published_zoo", "zoo"):
        monkeypatch.setattr(
            f"intellectual_property_protection.{name}.published_files", lambda: members
        )
    root = tmp_path / "sac"
    for number, file in enumerate(members.values()):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(number)
        torch.save(convnet(3, 10).state_dict(), root / file)
    # The pruned one is converted: its masked state dict takes the place of the module.
    torch.save(masked_network(), root / "Fine-Pruning" / "prune_model_1.pth")
    masked = {k: v.detach() for k, v in masked_network().state_dict().items()}
    save_file(masked, root / "Fine-Pruning" / "prune_model_1.safetensors")
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "data: {name: photos, size: 8}\ndevice: cpu\n"
        f"published: {{root: {json.dumps(str(root))}}}\n"
        "references: {pool: 16, count: 8}\nfield: {n_steps: 4}\n"
    )
    config = load_config(IPPConfig, path)
    run = open_run(config, testbed="intellectual_property_protection", name="tiny", root=tmp_path)
    monkeypatch.setattr("intellectual_property_protection.train.workers_on", lambda device: 1)
    train(run)
    cards = {m.name: read_card(checkpoint_path(run, m)) for m in members}
    assert {name: card["published_as"] for name, card in cards.items()} == {
        m.name: file for m, file in members.items()
    }
    assert cards["victim"]["agreement_with_victim"] == 1
    assert 0 <= cards["stolen"]["agreement_with_victim"] < 1
    assert cards["moved"]["accuracy"] is cards["moved"]["agreement_with_victim"] is None
    assert cards["moved"]["data"] == "cifar100"
    pruned = load_model(f"file:{run.folder / 'zoo' / 'pruned.safetensors'}")
    assert not pruned.network.features[4].weight[5:9].any()
    assert pruned.preprocessing["mean"] == [0.4914, 0.4822, 0.4465]
    # Nothing is read again once everything is there.
    for file in members.values():
        (root / file).unlink()
    train(run)
