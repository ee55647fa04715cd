"""Lineage: where a network's weights come from.

Weights remember the random start they were trained from, and the ancestor they were fine-tuned
from, unit by unit. What is found here is a common origin, which theft is one cause of among others.
"""

from modelgif.lineage.origin_test import LayerOrigin, OriginTest, origin_test
from modelgif.lineage.unit_sets import LeftOut, UnitSet, UnitSets, unit_sets

__all__ = [
    "LayerOrigin",
    "LeftOut",
    "OriginTest",
    "UnitSet",
    "UnitSets",
    "origin_test",
    "unit_sets",
]
