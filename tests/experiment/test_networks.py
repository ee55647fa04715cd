import pytest
import torch

from modelgif.experiment import networks
from modelgif.loading.load import load_model


@pytest.mark.parametrize("name", networks.NETWORKS)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 32)])
def test_every_network_is_built_from_its_address(name, channels, size):
    model = load_model(networks.network_address(name, channels, 7))
    logits = model(torch.rand(4, channels, size, size))
    assert logits.shape == (4, 7)
    assert model.network.head.out_features == 7


def test_architectures_differ_in_kind():
    layers = {
        name: [type(m).__name__ for m in getattr(networks, name)(1, 10).modules()]
        for name in networks.NETWORKS
    }
    assert len({tuple(kinds) for kinds in layers.values()}) == len(networks.NETWORKS)


def test_an_address_keeps_its_own_arguments():
    assert networks.network_address("torchvision:vgg11", 3, 5) == "torchvision:vgg11?num_classes=5"
    assert networks.network_address("timm:x?a=1", 3, 5) == "timm:x?a=1&num_classes=5"


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="architecture must be one of convnet, .*got 'convent'"):
        networks.network_address("convent", 1, 10)
