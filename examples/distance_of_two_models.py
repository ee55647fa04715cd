"""How far apart are two networks? One was fine-tuned from mine, the other is unrelated.

python examples/distance_of_two_models.py
"""

from digit_models import digits, trained

import modelgif as gif

images, labels = digits()
mine = trained(images[:800], labels[:800], seed=0)
copied = trained(
    images[800:1600], labels[800:1600], seed=1, start=mine, epochs=3, learning_rate=1e-3
)
unrelated = trained(images[800:1600], labels[800:1600], seed=2)

references = images[1600:1664]  # which none of them was trained on
settings = {"baseline": references.mean().item(), "n_steps": 20}
fields = [gif.gradient_field(model, references, **settings) for model in (mine, copied, unrelated)]

near, far = gif.distance(fields[0], fields[1]), gif.distance(fields[0], fields[2])
print(f"to the fine-tuned copy:    {near:.3f}\nto the unrelated network:  {far:.3f}")

per_reference = gif.distance_per_reference(fields[0], fields[1])
row = int(per_reference.argmax())
print(f"mine and the copy differ most at reference {row}: {per_reference[row]:.3f}")
