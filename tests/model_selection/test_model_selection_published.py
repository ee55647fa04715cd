"""The testbed of model selection: models and data sets that others have made, in local files."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image

from model_selection.config import ModelSelectionConfig
from model_selection.extract_features import extract_features
from model_selection.finetune import finetune
from model_selection.published import check_files, published_file, read_published
from model_selection.source import load_source
from model_selection.static_ranking import published_accuracy
from model_selection.tasks import load_task
from model_selection.train import load_member, train
from model_selection.zoo import PretrainedModel, roster
from modelgif.experiment.backbone import backbone, cut_head
from modelgif.experiment.config import load_config
from modelgif.experiment.networks import vgg
from modelgif.experiment.run import open_run
from modelgif.experiment.training import predict
from modelgif.loading.errors import CheckpointError

PAPER = "model_selection/configs/paper.yaml"
BACKBONE = "python:modelgif.experiment.backbone:backbone?network=resnet8&in_channels=3&width=4"
CLASSIFIER = "python:modelgif.experiment.networks:vgg?in_channels=3&num_classes=5&width=4"


def write_images(folder, classes, count, *, seed=0):
    """Noise of one colour a class, in files."""
    rng = np.random.default_rng(seed)
    for label in range(classes):
        own = folder / f"class{label}"
        own.mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(100, size=(12, 16, 3), dtype=np.uint8)
            pixels[..., label] += 120
            Image.fromarray(pixels).save(own / f"{i}.png")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three tiny published models and three folders of images."""
    root = tmp_path_factory.mktemp("published")
    (root / "models").mkdir()
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        state = backbone("resnet8", in_channels=3, width=4).state_dict()
        torch.save({"state_dict": state}, root / "models" / f"{name}.pth")
    torch.manual_seed(2)
    state = vgg(3, 5, width=4).state_dict()
    safetensors.torch.save_file(state, root / "models" / "three.safetensors")
    write_images(root / "general", 2, 10)
    write_images(root / "colours", 3, 10)
    write_images(root / "split" / "train", 2, 8, seed=1)
    write_images(root / "split" / "test", 2, 4, seed=2)
    return root


@pytest.fixture(scope="module")
def config(root):
    def folder(name):
        return {"name": "folder", "root": str(root / name), "size": 10}

    numbers = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.3], "size": 8}
    files = {"root": str(root / "models"), "origin": "https://example.org/models"}
    return ModelSelectionConfig.model_validate_json(
        json.dumps(
            {
                "workers": 1,
                "source": {"data": folder("general"), "n_held_out": 6},
                "published": [
                    {**files, "models": ["one", "two"], "architecture": BACKBONE, **numbers},
                    {
                        **files,
                        "models": ["three"],
                        "architecture": CLASSIFIER,
                        "n_classes": 5,
                        "pretraining": "supervised",
                    },
                ],
                "tasks": [
                    {"name": "colours", "data": folder("colours"), "per_class": True},
                    {"name": "split", "data": folder("split"), "n_train": 8},
                ],
                "finetune": {"learning_rates": [0.1], "weight_decays": [0.0], "n_steps": 6},
            }
        )
    )


def test_published_models_go_through_all_stages(config, tmp_path):
    run = open_run(config, testbed="model_selection", name="tiny", root=tmp_path)
    for stage in (train, finetune, extract_features):
        stage(run)
    members = roster(config)
    assert [(m.name, m.pretraining) for m in members] == [
        *(("one", "one"), ("two", "two"), ("three", "supervised"))
    ]
    torch.manual_seed(1)
    network = backbone("resnet8", in_channels=3, width=4).eval()
    images = load_task(config, "colours").test_images
    assert images.shape == (6, 3, 10, 10)
    mean, std = (torch.tensor(n)[:, None, None] for n in ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    small = torch.nn.functional.interpolate(images, (8, 8), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = network((small - mean) / std)
    found = safetensors.torch.load_file(run.folder / "features" / "two" / "colours.safetensors")
    torch.testing.assert_close(found["test_features"], expected, rtol=1e-4, atol=1e-5)
    assert "test_probabilities" not in found
    found = safetensors.torch.load_file(run.folder / "features" / "three" / "split.safetensors")
    assert found["train_probabilities"].shape == (8, 5)
    general = safetensors.torch.load_file(run.folder / "features/three/general.safetensors")
    assert general["features"].shape == (6, 8)
    _, card = load_member(run, "one")
    assert card["published_as"].endswith("one.pth")
    assert load_source(config).data.test_images.shape == (6, 3, 10, 10)


def test_published_weights_of_another_network_are_refused(config):
    group = config.published[0].model_copy(update={"architecture": BACKBONE + "9"})
    with pytest.raises(CheckpointError, match="weights of another shape"):
        read_published(PretrainedModel("one", "", "one", group), group)


def test_all_that_is_missing_is_named_at_once(config, root, tmp_path):
    check_files(config)
    gone = config.tasks[0].data.model_copy(update={"root": str(tmp_path / "nowhere")})
    first = config.tasks[0].model_copy(update={"data": gone, "origin": "https://example.org/c"})
    group = config.published[0].model_copy(update={"models": ("one", "four", "five")})
    changes = {"tasks": (first, config.tasks[1]), "published": (group,)}
    broken = config.model_copy(update=changes)
    assert published_file("four", group) is None
    with pytest.raises(FileNotFoundError) as caught:
        check_files(broken)
    message = str(caught.value)
    assert "2 of 3 models are not in" in message
    assert "four, five. Put each there as NAME.safetensors or NAME.pth" in message
    assert "Get them from: https://example.org/models" in message
    assert "the task colours needs the folder" in message
    assert "Get it from: https://example.org/c" in message
    with pytest.raises(FileNotFoundError, match=r"folder of images per class\. Get .*/nowhere"):
        load_task(broken, "colours")
    with pytest.raises(FileNotFoundError, match="1 of 1 models are not in"):
        missing = group.model_copy(update={"models": ("four",)})
        read_published(PretrainedModel("four", "", "four", missing), missing)


def test_the_papers_configuration_says_what_to_download():
    paper = load_config(ModelSelectionConfig, PAPER)
    with pytest.raises(FileNotFoundError) as caught:
        check_files(paper)
    message = str(caught.value)
    for member in roster(paper):
        assert member.name in message
    folders = [task for task in paper.tasks if task.data.name == "folder"]
    assert len(folders) == 9
    for task in folders:
        assert f"the task {task.name} needs the folder {task.data.root}" in message
    assert message.count("Get it from: http") == 10
    assert message.count("Get them from: http") == len(paper.published)


def test_the_papers_models_and_data_sets_are_those_of_its_table():
    paper = load_config(ModelSelectionConfig, PAPER)
    table = published_accuracy("ped")
    assert {m.name for m in roster(paper)} == set(table.index)
    assert {task.name for task in paper.tasks} == set(table.columns)


def test_the_papers_architecture_reads_a_resnet_50_without_its_last_layer(tmp_path):
    paper = load_config(ModelSelectionConfig, PAPER)
    assert len({group.architecture for group in paper.published}) == 1
    torch.manual_seed(0)
    network = torchvision.models.resnet50().eval()
    cut_head(network)
    torch.save(network.state_dict(), tmp_path / "byol.pth")
    changes = {"root": str(tmp_path), "models": ("byol",), "size": None}
    group = paper.published[0].model_copy(update=changes)
    model, card = read_published(PretrainedModel("byol", "", "byol", group), group)
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(n)[:, None, None] for n in (group.mean, group.std))
    with torch.no_grad():
        expected = network((images - mean) / std)
    torch.testing.assert_close(predict(model, images), expected, rtol=1e-4, atol=1e-5)
    assert card["n_classes"] is None
