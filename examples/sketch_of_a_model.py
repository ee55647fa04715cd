"""How much does a fingerprint lose? An estimated distance with its interval, and the exact one.

python examples/sketch_of_a_model.py    # writes one.sketch and other.sketch
"""

from digit_models import digits, trained

import modelgif as gif
from modelgif.sketches.file import read_sketch, write_sketch

images, labels = digits()
references = images[1600:1632]
settings = {"baseline": references.mean().item(), "n_steps": 20}
one, other = (trained(images[:800], labels[:800], seed=seed) for seed in (0, 1))

fields = [gif.gradient_field(model, references, **settings) for model in (one, other)]
exact = gif.distance(*fields)

write_sketch("one.sketch", gif.sketch_model(one, references, **settings))
write_sketch("other.sketch", gif.sketch_model(other, references, **settings))
sketches = read_sketch("one.sketch"), read_sketch("other.sketch")
estimate = gif.estimate_distance(*sketches)

n_bytes = fields[0].numel() * fields[0].element_size()
print(f"field: {n_bytes:,} bytes, distance {exact:.4f}")
print(
    f"sketch: {sketches[0].n_bytes:,} bytes, about {estimate.distance:.4f} "
    f"({estimate.low:.4f} to {estimate.high:.4f})"
)
