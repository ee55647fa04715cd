"""Describe every network once, keep the fields as files, and compare them whenever you like.

python examples/extract_and_compare.py    # writes the folder fields/
"""

from digit_models import digits, trained

import modelgif as gif

images, labels = digits()
zoo = {f"seed{seed}": trained(images[:800], labels[:800], seed=seed) for seed in range(3)}
references = gif.References(images[1600:1632], tuple(f"digits/{row}" for row in range(1600, 1632)))
settings = {"baseline": references.images.mean().item(), "n_steps": 20, "progress": False}

done = gif.extract(zoo, references, "fields", **settings)
print(gif.distance_matrix(done))

# Fields that were made with these weights and settings are kept.
zoo["seed3"] = trained(images[:800], labels[:800], seed=3)
again = gif.extract(zoo, references, "fields", **settings)
print(f"kept: {', '.join(again.skipped)}")

with gif.FieldStore("fields/seed3.h5") as store:
    print(f"seed3: field {list(store.shape)}, target {store.header.target}")
    print(f"seed0 to seed3: {gif.distance_matrix(again)['seed0', 'seed3']:.3f}")
