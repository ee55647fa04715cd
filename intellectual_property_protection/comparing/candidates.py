"""The candidates at which models may be described: pools of test images, made once per run."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intellectual_property_protection.evaluation_config import (
    PerturbationConfig,
    ReferencesConfig,
    Source,
)
from modelgif.data.data import ImageData
from modelgif.experiment.seeding import seeded_generator
from modelgif.experiment.training import predict
from modelgif.references.adversarial import pgd
from modelgif.references.references import References, cutmix, misclassified, random_references


def make_candidates(
    config: ReferencesConfig, data: ImageData, victim: nn.Module, *, seed: int
) -> References:
    """Returns the pools of all sources, one after the other; ids are ``SOURCE/ID``.

    Each pool is in random order, so that its first references are a smaller draw. All are made of
    test images, which no model has learnt, and of the victim alone: neither suspects nor
    independents take part.

    - ``random``: test images as they are
    - ``misclassified``: those which the victim gives a wrong class, as many as there are
    - ``cutmix``: those of ``random``, each with a box of another pasted in
    - ``adversarial``: those of ``random``, moved by projected gradient descent from a random start
      until the victim errs

    Raises:
        ValueError: when there are fewer test images than the pool has candidates, or the victim
            misclassifies none of them.
    """
    ids = [f"test/{row}" for row in range(len(data.test_images))]
    drawn = random_references(
        data.test_images, ids, config.pool, generator=seeded_generator(seed, "references")
    )
    pools = []
    for source in config.sources:
        if source == "misclassified":
            pool = _misclassified(data, ids, victim, config.pool, seed=seed)
        elif source == "cutmix":
            mixed = cutmix(drawn.images, generator=seeded_generator(seed, "cutmix"))
            pool = References(mixed, drawn.ids)
        elif source == "adversarial":
            rows = [int(name.removeprefix("test/")) for name in drawn.ids]
            labels = data.test_labels[rows]
            moved = _adversarial(drawn.images, labels, victim, config.perturbation, seed=seed)
            pool = References(moved, drawn.ids)
        else:
            pool = drawn
        pools.append(References(pool.images, tuple(f"{source}/{name}" for name in pool.ids)))
    return References(
        torch.cat([pool.images for pool in pools]),
        tuple(name for pool in pools for name in pool.ids),
    )


def columns_of(ids: Sequence[str], source: Source) -> list[int]:
    """Returns the positions of the candidates of `source`, in the order of the pool."""
    return [i for i, name in enumerate(ids) if name.startswith(f"{source}/")]


def first_of(candidates: References, source: Source, count: int) -> References:
    """Returns the first `count` candidates of `source`, or all where there are fewer."""
    rows = columns_of(candidates.ids, source)[:count]
    return References(candidates.images[rows], tuple(candidates.ids[i] for i in rows))


def _misclassified(
    data: ImageData, ids: list[str], victim: nn.Module, pool: int, *, seed: int
) -> References:
    predictions = predict(victim, data.test_images).argmax(1)
    rows = misclassified(predictions, data.test_labels)
    if not len(rows):
        raise ValueError(
            "the victim misclassifies no test image: leave misclassified out of references.sources."
        )
    return random_references(
        data.test_images[rows],
        [ids[int(i)] for i in rows],
        min(pool, len(rows)),
        generator=seeded_generator(seed, "misclassified"),
    )


def _adversarial(
    images: Tensor, labels: Tensor, victim: nn.Module, settings: PerturbationConfig, *, seed: int
) -> Tensor:
    moved = pgd(
        victim,
        images.to(next(victim.parameters()).device),
        labels,
        **settings.model_dump(),
        generator=seeded_generator(seed, "adversarial"),
    )
    return moved.cpu()
