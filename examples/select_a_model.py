"""Which pretrained network should I fine-tune? Scores from features alone, and then the truth.

python examples/select_a_model.py
"""

import torch
from digit_models import digits, network, trained

import modelgif as gif

images, labels = digits()
with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)
    untrained = network()
pretrained = {
    "all ten digits": trained(images[:800], labels[:800], seed=0),
    "odd or even": trained(images[:800], labels[:800] % 2, seed=0),
    "nothing": untrained,
}

# My data: 100 labelled images to choose and fine-tune with, and others to check the choice.
mine, test = slice(800, 900), slice(900, 1700)
scores, accuracy = {}, {}
for name, model in pretrained.items():
    features = gif.penultimate_features(model, images[mine])
    scores[name] = {
        "knn": gif.transferability.knn(features, labels[mine]),
        "linear probe": gif.transferability.linear_probe(features, labels[mine]),
    }
    tuned = trained(images[mine], labels[mine], seed=1, start=model, epochs=5, learning_rate=1e-3)
    with torch.no_grad():
        accuracy[name] = (tuned(images[test]).argmax(1) == labels[test]).float().mean().item()

print(f"{'pretrained on':<16}{'knn':>8}{'linear probe':>14}{'fine-tuned accuracy':>22}")
for name in sorted(scores, key=lambda name: -scores[name]["knn"]):
    by = scores[name]
    print(f"{name:<16}{by['knn']:8.3f}{by['linear probe']:14.3f}{accuracy[name]:22.3f}")
