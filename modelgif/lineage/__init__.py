"""Lineage: where a network's weights come from.

Weights remember the random start they were trained from, and the ancestor they were fine-tuned
from, unit by unit. What is found here is a common origin, which theft is one cause of among others.
"""

from modelgif.lineage._aligned_similarity import (
    AlignedSimilarity,
    LayerSimilarity,
    aligned_similarity,
)
from modelgif.lineage._change_similarity import (
    ChangeSimilarity,
    LayerChange,
    NearestAncestor,
    change_similarity,
    nearest_ancestor,
)
from modelgif.lineage._common_seed import USUAL_SEEDS, CommonSeed, common_seed
from modelgif.lineage._origin_test import LayerOrigin, OriginTest, origin_test
from modelgif.lineage._permuted_units import permuted_units
from modelgif.lineage._unit_sets import LeftOut, UnitSet, UnitSets, unit_sets

__all__ = [
    "USUAL_SEEDS",
    "AlignedSimilarity",
    "ChangeSimilarity",
    "CommonSeed",
    "LayerChange",
    "LayerOrigin",
    "LayerSimilarity",
    "LeftOut",
    "NearestAncestor",
    "OriginTest",
    "UnitSet",
    "UnitSets",
    "aligned_similarity",
    "change_similarity",
    "common_seed",
    "nearest_ancestor",
    "origin_test",
    "permuted_units",
    "unit_sets",
]
