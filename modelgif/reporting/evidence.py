"""Evidence a reader can see: reference images with the fields of models over them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor


def evidence(images: Tensor, fields: Mapping[str, Tensor], titles: Sequence[str]) -> Figure:
    """Returns a picture with one column per reference: the image, then each model's field over it.

    Red pixels raise the model's target, blue ones lower it; the stronger, the more opaque, and each
    model's strongest pixel of a reference counts as 1, as directions alone make the distance.

    Args:
        images: ``[K, C, H, W]`` in [0, 1], C 1 or 3.
        fields: ``[K, C, H, W]`` by model, such as the last step of gradient fields; channels are
            added.
        titles: what to write over each column.

    Raises:
        ValueError: for shapes that do not fit each other.
    """
    shapes = {name: tuple(field.shape) for name, field in fields.items()}
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(titles) != len(images):
        raise ValueError(
            f"expected images [K, 1 or 3, H, W] and K titles, got {list(images.shape)} and "
            f"{len(titles)} titles."
        )
    if wrong := {name: shape for name, shape in shapes.items() if shape != tuple(images.shape)}:
        raise ValueError(f"fields must have the images' shape {list(images.shape)}, got {wrong}.")
    rows = ["image", *fields]
    size = 1.5  # inches per picture
    figure = Figure(
        figsize=(size * len(images) + 0.5, size * len(rows) + 0.5), layout="constrained"
    )
    axes = figure.subplots(len(rows), len(images), squeeze=False)
    for column, image in enumerate(images.detach().cpu().double().permute(0, 2, 3, 1).numpy()):
        axes[0, column].imshow(image, cmap="grey", vmin=0, vmax=1)
        axes[0, column].set_title(titles[column], fontsize=8)
        for row, field in enumerate(fields.values(), start=1):
            relevance = field[column].detach().cpu().double().sum(0).numpy()
            strength = np.abs(relevance) / (np.abs(relevance).max() or 1)
            axes[row, column].imshow(image.mean(2), cmap="grey", vmin=-0.5, vmax=1.5)
            axes[row, column].imshow(
                np.sign(relevance), cmap="bwr", vmin=-1, vmax=1, alpha=strength
            )
    for row, name in enumerate(rows):
        axes[row, 0].set_ylabel(name, fontsize=8)
    for cell in axes.flat:
        cell.set(xticks=[], yticks=[])
    return figure
