"""The zoo: which models exist, what each is made from, and which of its epochs are kept."""

from dataclasses import dataclass
from typing import Literal

from model_unlearning.config import Method, UnlearningConfig, method_epochs

ModelKind = Literal[
    "reference", "unrelated", "direct", "approximate", "finetune", "gradient_ascent", "salun"
]


@dataclass(frozen=True)
class UnlearningModel:
    """One model of the zoo.

    Attributes:
        kind: ``reference`` and ``unrelated`` learn everything, ``direct`` everything but what is
            to be forgotten; the others start from a reference and are made to forget.
        replicate: number of the repetition it belongs to.
        seed: of the untrained weights. ``direct`` starts from the weights its reference started
            from; ``unrelated`` does not.
        epochs: how long it is trained.
    """

    kind: ModelKind
    replicate: int
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        """Unique in the zoo; the name of its folder."""
        return f"{self.kind}-{self.replicate}"

    @property
    def parent(self) -> str | None:
        """Name of the model it starts from, or None when it starts from scratch."""
        scratch = self.kind in ("reference", "unrelated", "direct")
        return None if scratch else f"reference-{self.replicate}"

    def checkpoint(self, epoch: int) -> str:
        """Returns the name of the checkpoint after `epoch`, which its files and records carry."""
        return f"{self.name}.epoch-{epoch:03}"

    def saved_epochs(self, every: int) -> list[int]:
        """Returns the epochs after which a checkpoint is kept: every so many, and the last."""
        return [*range(every, self.epochs, every), self.epochs]


def roster(config: UnlearningConfig) -> list[UnlearningModel]:
    """Returns all members of the zoo, each after the one it is made from."""
    members = []
    for replicate in range(config.replicates):
        own, other = 2 * replicate, 2 * replicate + 1
        epochs = config.training.epochs
        members += [
            UnlearningModel("reference", replicate, own, epochs),
            UnlearningModel("unrelated", replicate, other, epochs),
            UnlearningModel("direct", replicate, own, epochs),
        ]
        members += [
            UnlearningModel(method.recipe, replicate, own, method_epochs(method))
            for method in config.methods
        ]
    return members


def method_of(config: UnlearningConfig, member: UnlearningModel) -> Method | None:
    """Returns how a member is made to forget, or None when it is trained from scratch."""
    return next((method for method in config.methods if method.recipe == member.kind), None)
