"""What practitioners look at: accuracies, and whether a loss betrays what was learnt."""

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from model_unlearning.split import Split
from modelgif.experiment.training import predict
from modelgif.ranking import auc

Quantity = Literal[
    "accuracy_retained",
    "accuracy_forgotten",
    "accuracy_remaining",
    "accuracy_held_out",
    "membership_auc",
]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)


def performance(model: nn.Module, split: Split) -> dict[Quantity, float]:
    """Returns a model's accuracies and how well its loss tells members from other images.

    - ``accuracy_retained``, ``accuracy_forgotten``: on training images to be kept and forgotten
    - ``accuracy_remaining``, ``accuracy_held_out``: on test images of the retained classes and of
      the forgotten one, see `Split`
    - ``membership_auc``: the chance that a forgotten training image has a smaller loss than a
      held-out one, which is one half for a model that never saw either
    """
    data = split.data
    trained = predict(model, data.train_images)
    tested = predict(model, data.test_images)
    hits = trained.argmax(1) == data.train_labels
    test_hits = tested.argmax(1) == data.test_labels
    members = _losses(trained[split.forgotten], data.train_labels[split.forgotten])
    others = _losses(tested[split.held_out], data.test_labels[split.held_out])
    return {
        "accuracy_retained": _share(hits[~split.forgotten]),
        "accuracy_forgotten": _share(hits[split.forgotten]),
        "accuracy_remaining": _share(test_hits[split.remaining]),
        "accuracy_held_out": _share(test_hits[split.held_out]),
        "membership_auc": auc(members.numpy(), others.numpy()),
    }


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    # In float64, where a confident model's losses do not all round to zero.
    return F.cross_entropy(logits.double(), labels, reduction="none")


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()
