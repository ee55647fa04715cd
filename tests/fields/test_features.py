import pytest
import torch
from torch import nn

from modelgif.experiment.networks import convnet, resnet
from modelgif.fields.features import penultimate_features
from modelgif.loading.preprocessing import Preprocessed


@pytest.mark.parametrize("make", [convnet, resnet])
@pytest.mark.parametrize("batch_size", [2, 5, 7])
def test_last_layer_on_the_features_gives_the_scores(make, batch_size):
    torch.manual_seed(0)
    network = make(in_channels=1, num_classes=4)
    model = Preprocessed(network, mean=[0.4], std=[0.2]).eval()
    images = torch.rand(7, 1, 8, 8)
    features = penultimate_features(model, images, batch_size=batch_size)
    *_, head = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        torch.testing.assert_close(head(features), model(images))


def test_a_model_is_left_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Dropout(), nn.Linear(3, 2)).train()
    images = torch.rand(3, 1, 2, 2)
    assert penultimate_features(model, images).shape == (3, 3)
    assert model.training
    assert not any(layer._forward_hooks for layer in model.modules())


def test_a_model_that_does_not_end_in_a_linear_layer_is_refused():
    softmax = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Softmax(1))
    convolution = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten())
    for model in (softmax, convolution):
        with pytest.raises(ValueError, match=r"wrap it in a module that ends in nn\.Linear"):
            penultimate_features(model, torch.rand(2, 1, 2, 2))


def test_features_that_are_not_finite_are_named():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Identity(), nn.Linear(3, 2))
    images = torch.rand(5, 1, 2, 2)
    images[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="image 3"):
        penultimate_features(model, images, batch_size=2)
