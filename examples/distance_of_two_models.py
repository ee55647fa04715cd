"""How far apart are two networks? One was fine-tuned from mine, the other is a stranger.

python examples/distance_of_two_models.py
"""

from digit_models import digits, trained

import modelgif as gif

images, labels = digits()
mine = trained(images[:800], labels[:800], seed=0)
copied = trained(
    images[800:1600], labels[800:1600], seed=1, start=mine, epochs=3, learning_rate=1e-3
)
stranger = trained(images[800:1600], labels[800:1600], seed=2)

references = images[1600:1664]  # that none of them learnt
settings = {"baseline": references.mean().item(), "n_steps": 20}
fields = [gif.gradient_field(model, references, **settings) for model in (mine, copied, stranger)]

near, far = gif.distance(fields[0], fields[1]), gif.distance(fields[0], fields[2])
print(f"to the fine-tuned copy: {near:.3f}\nto the stranger:        {far:.3f}")

each = gif.distance_per_reference(fields[0], fields[1])
print(f"mine and the copy differ most at reference {each.argmax().item()}: {each.max():.3f}")
