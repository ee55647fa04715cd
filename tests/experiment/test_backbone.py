import pytest
import torch
from torch import nn

from modelgif.experiment.backbone import (
    BACKBONES,
    backbone,
    backbone_address,
    classifier_address,
    cut_head,
    feature_count,
)
from modelgif.experiment.seeding import deterministic_convolutions
from modelgif.experiment.training import predict
from modelgif.fields.features import penultimate_features
from modelgif.loading.load import load_model


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_gives_what_the_last_layer_of_its_classifier_sees(name):
    address = classifier_address(name, 1, 7, width=8)
    classifier = load_model(f"{address}&mean=0.3&std=0.2&seed=5")
    images = torch.rand(9, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    expected, logits = penultimate_features(classifier, images), predict(classifier, images)
    head = cut_head(classifier)
    torch.testing.assert_close(predict(classifier, images), expected, rtol=0, atol=0)
    torch.testing.assert_close(head(expected), logits)
    assert feature_count(classifier, images[0]) == expected.shape[1] == head.in_features
    bare = load_model(backbone_address(name, 1, width=8))
    bare.network.load_state_dict(classifier.network.state_dict())
    shifted = (images - 0.3) / 0.2
    torch.testing.assert_close(predict(bare, shifted), expected)


def test_a_torchvision_network_is_a_backbone_too():
    features = backbone("torchvision:resnet18").eval()
    assert not any(isinstance(layer, nn.Linear) for layer in features.modules())
    assert feature_count(features, torch.rand(3, 32, 32)) == 512


def test_the_mode_survives_counting():
    model = backbone("vgg", in_channels=1).train()
    statistics = {k: v.clone() for k, v in model.state_dict().items()}
    assert feature_count(model, torch.rand(1, 8, 8)) == 32
    assert model.training
    assert all(torch.equal(v, statistics[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet9",), "Did you mean resnet, resnet8, resnet20"),
        (("torchvision:resnet1",), "or torchvision:NAME, got 'torchvision:resnet1'"),
        (("torchvision:resnet18", 1), "resnet18 takes 3 channels and no width, got 1, None"),
    ],
)
def test_what_is_no_backbone(arguments, message):
    with pytest.raises(ValueError, match=message):
        backbone(*arguments)


def test_what_has_no_head():
    for model in (nn.Sequential(nn.Conv2d(1, 1, 1)), nn.Linear(2, 2)):
        with pytest.raises(ValueError, match="has no linear layer inside"):
            cut_head(model)
    with pytest.raises(ValueError, match=r"features \[B, D\], got \[1, 4, 8, 8\]"):
        feature_count(nn.Conv2d(1, 4, 1), torch.rand(1, 8, 8))
    with pytest.raises(ValueError, match="got 'alexnet'"):
        classifier_address("alexnet", 1, 2)


def test_convolutions_are_deterministic_only_inside():
    before = (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
    with deterministic_convolutions():
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == before
