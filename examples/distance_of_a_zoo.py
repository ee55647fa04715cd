"""Which of these networks are related? All pairs at once, without storing a field.

In a notebook, `matrix` is shown as a table, and `matrix.plot()` as a picture.

python examples/distance_of_a_zoo.py
"""

from digit_models import digits, trained

import modelgif as gif
from modelgif.reporting.figure import save_figure

images, labels = digits()
halves = [(images[:800], labels[:800]), (images[800:1600], labels[800:1600])]
gentle = {"epochs": 3, "learning_rate": 3e-4}

zoo = {f"parent{seed}": trained(*halves[0], seed=seed) for seed in range(3)}
for name in list(zoo):
    child = name.replace("parent", "child")
    zoo[child] = trained(*halves[1], seed=9, start=zoo[name], **gentle)

references = images[1600:1664]
streamed = gif.stream_distances(
    zoo, references, baseline=references.mean().item(), n_steps=20, progress=False
)
matrix = gif.distance_matrix(streamed)
print(matrix)

save_figure(matrix.plot(), "zoo_heat_map.png")
save_figure(matrix.plot("similarity_tree"), "zoo_tree.png")
