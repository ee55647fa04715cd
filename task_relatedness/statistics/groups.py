"""Whether a matrix of distances between tasks shows the groups that they belong to."""

from collections.abc import Sequence

import numpy as np
import scipy.stats
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from modelgif.experiment.record import Measurement
from modelgif.ranking import auc
from modelgif.reporting.figure import Kind, ward_linkage

GROUPS = "groups"  # the subject of records
BY_GROUP = "task groups alone"  # the method of `group_distance`


def group_measurements(
    distances: np.ndarray, groups: Sequence[str], *, n_permutations: int, seed: int
) -> list[Measurement]:
    """Returns whether a symmetric matrix of distances shows the groups of tasks.

    - ``rand_average``, and ``rand_published`` where that tree exists: `rand_index` of the tree
    - ``branch.<group>``: `best_overlap` in the tree of `tree_kind`
    - ``separation``, ``separation.<group>``: see `separation`; ``separation.p``: `separation_p`

    With one group, or no two tasks of any, there is nothing to see, and the list is empty.

    Args:
        distances: ``[M, M]``.
        groups: of each task.
        n_permutations: groups dealt out at random.
        seed: of these.
    """
    if len(set(groups)) in (1, len(groups)):
        return []
    kinds = dict.fromkeys(("average", tree_kind(distances)))
    values = {f"rand_{kind}": rand_index(tree(distances, kind), groups) for kind in kinds}
    overlaps = best_overlap(tree(distances, tree_kind(distances)), groups)
    values |= {f"branch.{group}": overlap for group, overlap in overlaps.items()}
    values["separation"] = separation(distances, groups)
    p = separation_p(distances, groups, n_permutations=n_permutations, seed=seed)
    values["separation.p"] = p
    values |= {f"separation.{name}": separation(distances, groups, group=name) for name in overlaps}
    return [Measurement(GROUPS, name, value, len(groups)) for name, value in values.items()]


def group_distance(groups: Sequence[str]) -> np.ndarray:
    """Returns the plainest distance, ``[M, M]``: 0 within a group of tasks, 1 between groups."""
    members = np.array(list(groups))
    return (members[:, None] != members).astype(float)


def affinity_name(truth: str) -> str:
    """Returns the name, as a method, of the affinities of a truth."""
    return f"affinities, {truth}"


def affinity_distance(affinity: np.ndarray) -> np.ndarray:
    """Returns 1 − √(A ∘ Aᵀ), ``[M, M]``: a symmetric distance of tasks that serve each other.

    The recipe of the published tree, log(1 − D), is then the mean of both directions' log
    affinities.
    """
    return 1 - np.sqrt(affinity * affinity.T)


def tree(distances: np.ndarray, kind: Kind) -> np.ndarray:
    """Returns the linkage ``[M - 1, 4]`` that `modelgif.reporting.figure.similarity_tree` draws.

    Raises:
        ValueError: for the kind ``published`` when a distance is 1 or more.
    """
    if kind == "published":
        return ward_linkage(distances)
    return linkage(squareform(distances, checks=False), "average")


def tree_kind(distances: np.ndarray) -> Kind:
    """Returns ``published`` where all distances are below 1, as it needs, and ``average`` else."""
    return "published" if distances.max() < 1 else "average"


def rand_index(links: np.ndarray, groups: Sequence[str]) -> float:
    """Returns the adjusted Rand index of the tree, cut into as many clusters as groups, with them.

    1 means that clusters are groups, 0 is what chance gives.
    """
    clusters = cut_tree(links, n_clusters=len(set(groups)))[:, 0]
    return float(adjusted_rand_score(list(groups), clusters))


def best_overlap(links: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """Returns by group how well the branch of the tree that fits it best does, between 0 and 1.

    It is Jaccard's index: members in both, over members in either. A branch with all of a group and
    nothing else gives 1. A group of one task has no branch of its own, and is left out.
    """
    members = np.array(list(groups))
    branches = [frozenset({leaf}) for leaf in range(len(members))]
    for left, right in links[:, :2].astype(int):
        branches.append(branches[left] | branches[right])
    found = {}
    for group in dict.fromkeys(groups):
        own = frozenset(np.flatnonzero(members == group).tolist())
        if len(own) > 1:
            of_branches = (len(own & b) / len(own | b) for b in branches[len(members) :])
            found[group] = max(of_branches)
    return found


def separation(distances: np.ndarray, groups: Sequence[str], *, group: str | None = None) -> float:
    """Returns the chance that two tasks of one group are nearer than two of different groups.

    Args:
        distances: symmetric, ``[M, M]``.
        groups: of each task.
        group: the pairs within this one only, and of its tasks with others; all when left out.

    Raises:
        ValueError: when there is no pair within or none between.
    """
    members = np.array(list(groups))
    first, second = np.triu_indices(len(members), 1)
    same = members[first] == members[second]
    ours = np.ones_like(same)
    if group is not None:
        ours = (members[first] == group) | (members[second] == group)
    values, same = distances[first, second][ours], same[ours]
    if same.all() or not same.any():
        raise ValueError(f"expected pairs within and between groups, got groups {list(groups)}.")
    return auc(values[same], values[~same])


def separation_p(
    distances: np.ndarray, groups: Sequence[str], *, n_permutations: int, seed: int
) -> float:
    """Returns how often groups dealt out at random are separated as well, the p-value.

    Raises:
        ValueError: as `separation`.
    """
    separation(distances, groups)
    first, second = np.triu_indices(len(groups), 1)
    ranks = scipy.stats.rankdata(distances[first, second])
    members = np.unique(np.array(list(groups)), return_inverse=True)[1]
    generator = np.random.default_rng(seed)
    dealt = generator.permuted(np.tile(members, (n_permutations, 1)), axis=1)
    # The numbers of pairs never change, so the AUC falls as the sum of the ranks within rises.
    sums = (dealt[:, first] == dealt[:, second]) @ ranks
    reached = sums <= ranks[members[first] == members[second]].sum()
    return float((1 + reached.sum()) / (1 + n_permutations))
