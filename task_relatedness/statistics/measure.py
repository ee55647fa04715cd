"""How well distances between tasks agree with affinities, in every reading, and how surely."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from modelgif.experiment.percentile_interval import percentile_interval
from modelgif.experiment.record import Measurement
from modelgif.ranking import precision_at_k, recall_at_k
from task_relatedness.statistics.agreement import (
    READINGS,
    Reading,
    agreement,
    agreement_of_draws,
    coefficients,
    permutation_p,
)
from task_relatedness.statistics.bootstrap import half_width, task_counts

# Names of truths: the rooms' own transfers, and Taskonomy's published affinities.
ROOMS, PUBLISHED = "rooms", "Taskonomy"
# P@K and R@K: a target's five best sources are relevant.
N_RELEVANT = 5


@dataclass(frozen=True)
class Truth:
    """How well each task's encoder really serves each other task.

    Attributes:
        name: the subject of records.
        tasks: of rows and columns.
        affinity: of source (row) for target (column), ``[M, M]``.
        draws: the same with test images resampled, ``[B, M, M]``; None where they are not known.
    """

    name: str
    tasks: Sequence[str]
    affinity: np.ndarray
    draws: np.ndarray | None = None


def agreement_measurements(
    matrices: Mapping[str, np.ndarray],
    truth: Truth,
    *,
    main: str,
    image_draws: Mapping[str, np.ndarray],
    n_bootstrap: int,
    seed: int,
) -> dict[str, list[Measurement]]:
    """Returns by method how its distances agree with `truth`, in each reading.

    - ``<reading>``: Spearman's correlation of minus the distance with affinity, a mean over as many
      lists as `n` says, or of as many pairs; `spread` is 1.96 standard deviations when references
      and, if the truth has draws, test images are resampled: what other images would change
    - ``<reading>.low``, ``.high``: 95 % percentile interval when *tasks* are resampled, the same
      ones for all methods: what other tasks would change
    - ``<reading>.p``: Mantel's p-value
    - ``<reading>.lead``, ``.lead_low``, ``.lead_high``: agreement of `main` less this method's, and
      the interval of that, tasks resampled
    - ``columns.<task>``, ``columns_with_diagonal.<task>``: the coefficient of one target
    - ``precision_at_<k>``, ``recall_at_<k>``: see `retrieval_measurements`

    What does not exist, such as an order of equal distances, is left out.

    Args:
        matrices: distances by method, ``[M, M]``.
        truth: what they are compared with.
        main: the method that the others are compared with.
        image_draws: distances with references resampled, by method, ``[B, M, M]``.
        n_bootstrap: bootstrap draws of tasks, and permutations behind a p-value.
        seed: of the draws.
    """
    counts = task_counts(len(truth.tasks), n_bootstrap, seed)
    found: dict[str, list[Measurement]] = {name: [] for name in matrices}
    for reading in READINGS:
        leader = agreement(-matrices[main], truth.affinity, reading)
        of_leader = agreement_of_draws(-matrices[main], truth.affinity, reading, counts)
        for name, matrix in matrices.items():
            each = coefficients(-matrix, truth.affinity, reading)
            if np.isnan(each).all():
                continue
            value = agreement(-matrix, truth.affinity, reading)
            draws = agreement_of_draws(-matrix, truth.affinity, reading, counts)
            permutations = {"n_permutations": n_bootstrap, "seed": seed}
            p = permutation_p(-matrix, truth.affinity, reading, **permutations)
            numbers = {".p": p} | _ends(".", draws)
            if name != main and not np.isnan(leader):
                numbers |= {".lead": leader - value} | _ends(".lead_", of_leader - draws)
            n = each.size if reading != "pairs" else matrix.size - len(matrix)
            n -= int(np.isnan(each).sum())
            spread = _image_spread(image_draws.get(name), truth, reading)
            found[name].append(Measurement(truth.name, reading, float(value), n, spread))
            found[name] += [
                Measurement(truth.name, reading + ending, float(number), n)
                for ending, number in numbers.items()
            ]
            if reading.startswith("columns"):
                found[name] += _by_target(truth, reading, each)
    for name, matrix in matrices.items():
        found[name] += retrieval_measurements(matrix, truth)
    return found


def retrieval_measurements(matrix: np.ndarray, truth: Truth) -> list[Measurement]:
    """Returns P@K and R@K of a method's distances, means over targets with 95 % interval (Student).

    K goes from 1 to 5, and a target's 5 best sources, itself not among them, are relevant. With
    fewer than seven tasks it is two fewer than there are, so that not all are.
    """
    n_tasks = len(matrix)
    n_relevant = min(N_RELEVANT, n_tasks - 2)
    found = []
    for name, measure in (("precision", precision_at_k), ("recall", recall_at_k)):
        for k in range(1, n_relevant + 1):
            values = []
            for target in range(n_tasks):
                near = -np.delete(matrix[:, target], target)
                apt = np.delete(truth.affinity[:, target], target)
                values.append(measure(near, apt, k, n_relevant=n_relevant))
            error = np.std(values, ddof=1) / np.sqrt(n_tasks)
            half = float(scipy.stats.t.ppf(0.975, n_tasks - 1) * error)
            mean = float(np.mean(values))
            found.append(Measurement(truth.name, f"{name}_at_{k}", mean, n_tasks, half))
    return found


def _image_spread(image_draws: np.ndarray | None, truth: Truth, reading: Reading) -> float | None:
    if image_draws is None:
        return None
    affinity = truth.affinity if truth.draws is None else truth.draws
    return half_width(agreement(-image_draws, affinity, reading))


def _ends(prefix: str, draws: np.ndarray) -> dict[str, float]:
    # With tasks resampled it keeps its level in simulated worlds, as a test checks; mirrored at the
    # estimate, as by the basic bootstrap, it would be too high: draws with copies agree less.
    ends = percentile_interval(draws)
    return {} if ends is None else dict(zip((f"{prefix}low", f"{prefix}high"), ends, strict=True))


def _by_target(truth: Truth, reading: Reading, each: np.ndarray) -> Iterator[Measurement]:
    n_sources = len(truth.tasks) - (reading == "columns")
    for task, value in zip(truth.tasks, each, strict=True):
        if not np.isnan(value):
            yield Measurement(truth.name, f"{reading}.{task}", float(value), n_sources)
