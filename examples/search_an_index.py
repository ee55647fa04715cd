"""Is this network related to one that I know? Fingerprints of 20 KiB, kept and searched.

python examples/search_an_index.py    # writes the folder known/
"""

from digit_models import digits, trained

import modelgif as gif

images, labels = digits()
references = images[1600:1632]
settings = {"baseline": references.mean().item(), "n_steps": 20}

known = {f"seed{seed}": trained(images[:800], labels[:800], seed=seed) for seed in range(8)}
index = gif.SketchIndex("known")
index.add({name: gif.sketch_model(model, references, **settings) for name, model in known.items()})

found_online = trained(
    images[800:1600], labels[800:1600], seed=9, start=known["seed5"], epochs=3, learning_rate=3e-4
)
nearest = index.search(gif.sketch_model(found_online, references, **settings), k=3)
for name, distance in zip(nearest.names, nearest.distances.tolist(), strict=True):
    print(f"{name}: about {distance:.3f}")
