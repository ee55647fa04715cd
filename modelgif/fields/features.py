"""Features: what a classifier's last linear layer sees."""

import torch
from torch import Tensor, nn

from modelgif.fields.model import frozen, scores


def penultimate_features(model: nn.Module, images: Tensor, *, batch_size: int = 256) -> Tensor:
    """Returns the inputs of the linear layer that gives `model`'s scores, ``[N, D]``, on the CPU.

    Args:
        model: a classifier whose scores come out of an `nn.Linear`.
        images: ``[N, C, H, W]``; batches are moved to the model's device.
        batch_size: images per pass.

    Raises:
        ValueError: when no linear layer gives the scores, or a feature is not finite.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> penultimate_features(model, torch.zeros(5, 1, 2, 2)).shape
        torch.Size([5, 3])
    """
    seen: dict[str, Tensor] = {}

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.update(features=inputs[0], output=output)

    weight = next(model.parameters(), torch.empty(0))
    hooks = [
        layer.register_forward_hook(note)
        for layer in model.modules()
        if isinstance(layer, nn.Linear)
    ]
    features_of_batches = []
    try:
        with frozen(model), torch.no_grad():
            for batch in images.split(batch_size):
                seen.clear()
                output = scores(model(batch.to(weight.device, weight.dtype)), len(batch))
                last = seen.get("output")
                if last is None or not _same(last, output):
                    raise ValueError(
                        "the model's scores do not come out of a linear layer, so it has no "
                        "penultimate features: wrap it in a module that ends in nn.Linear."
                    )
                features_of_batches.append(seen["features"].cpu())
    finally:
        for hook in hooks:
            hook.remove()
    features = torch.cat(features_of_batches)
    finite = features.isfinite().all(1)
    if not finite.all():
        row = int(finite.logical_not().nonzero()[0].item())
        raise ValueError(f"the features of image {row} are not finite (NaN or infinity).")
    return features


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
