"""Rival methods: each a file with ``describe`` (once per model) and ``compare`` (per pair).

A distance is smaller for nearer models and 0 for identical ones. Where it is a mean over
references, ``per_reference`` gives its terms.
"""

from collections.abc import Mapping
from typing import Literal

from modelgif.methods import (
    attribution,
    cka,
    dds,
    depara,
    ipguard,
    label_agreement,
    model_diff,
    output_divergence,
    rsa,
    sac,
    zest,
)
from modelgif.methods._superpixels import superpixels

Access = Literal["labels", "scores", "features", "gradients"]

# The least that each method must see of a suspect model. SAC has a variant for labels, and CKA, RSA
# and DDS do with scores where features are not to be had. Scores are logits, or probabilities.
ACCESS: Mapping[str, Access] = {
    "label_agreement": "labels",
    "ipguard": "labels",
    "output_divergence": "scores",
    "sac": "scores",
    "model_diff": "scores",
    "zest": "scores",
    "cka": "features",
    "rsa": "features",
    "dds": "features",
    "attribution": "gradients",
    "depara": "gradients",
}

__all__ = [
    "ACCESS",
    "Access",
    "attribution",
    "cka",
    "dds",
    "depara",
    "ipguard",
    "label_agreement",
    "model_diff",
    "output_divergence",
    "rsa",
    "sac",
    "superpixels",
    "zest",
]
