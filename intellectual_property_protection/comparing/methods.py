"""The methods of the table: what each describes a model by, and how two descriptions compare.

Settings are the papers' where images of any size bear them; what a method makes from the victim is
made of the same references as everybody's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from modelgif.fields.features import penultimate_features
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

# The steps of the path that a distance of fields is the mean over, by their number. The last one
# is the integrated gradient.
FIELD_STEPS: Mapping[str, Callable[[int], slice]] = {
    "field": lambda n_steps: slice(None),
    "field_last": lambda n_steps: slice(n_steps - 1, n_steps),
    "field_late": lambda n_steps: slice(n_steps // 2, n_steps),
}

Options = Mapping[str, Any]
Compare = Callable[[nn.Module], float]


@dataclass(frozen=True)
class MeanMethod:
    """A method that compares two models at one reference after the other.

    Attributes:
        describe: a model at references ``[N, *input_shape]``, with a baseline.
        per_reference: distances ``[N]`` of a model's description from the victim's, given first.
        any_labels: whether it can compare models of different label sets.
    """

    describe: Callable[[nn.Module, Tensor, float | Tensor], Any]
    per_reference: Callable[[Any, Any], Tensor]
    any_labels: bool


@dataclass(frozen=True)
class WholeMethod:
    """A method that compares two models by all references together.

    Attributes:
        prepare: from the victim, references ``[N, *input_shape]``, a baseline, a generator and the
            options, what gives a model's distance from the victim.
        any_labels: whether it can compare models of different label sets.
        options: of the method, other than its own defaults.
    """

    prepare: Callable[[nn.Module, Tensor, float | Tensor, torch.Generator, Options], Compare]
    any_labels: bool = True
    options: Options = field(default_factory=dict)


def _attribution(kind: attribution.Kind) -> MeanMethod:
    def describe(model: nn.Module, images: Tensor, baseline: float | Tensor) -> Tensor:
        return attribution.describe(model, images, kind=kind, baseline=baseline)

    return MeanMethod(describe, attribution.per_reference, any_labels=True)


def _divergence(kind: output_divergence.Kind) -> MeanMethod:
    def per_reference(victims: Tensor, models: Tensor) -> Tensor:
        return output_divergence.per_reference(victims, models, kind=kind)

    return MeanMethod(
        lambda model, images, _: output_divergence.describe(model, images),
        per_reference,
        any_labels=False,
    )


def _same_inputs(method: Any) -> Callable[..., Compare]:
    """The `prepare` of a method that needs nothing but the references."""

    def prepare(
        victim: nn.Module,
        images: Tensor,
        baseline: float | Tensor,
        generator: torch.Generator,
        options: Options,
    ) -> Compare:
        victims = method.describe(victim, images, **options)
        return lambda model: method.compare(victims, method.describe(model, images, **options))

    return prepare


def _zest(
    victim: nn.Module,
    images: Tensor,
    baseline: float | Tensor,
    generator: torch.Generator,
    options: Options,
) -> Compare:
    def describe(model: nn.Module) -> Tensor:
        return zest.describe(model, images, baseline=baseline, **options)

    victims = describe(victim)
    return lambda model: zest.compare(victims, describe(model))


def _model_diff(
    victim: nn.Module,
    images: Tensor,
    baseline: float | Tensor,
    generator: torch.Generator,
    options: Options,
) -> Compare:
    twins = model_diff.adversarial_twins(victim, images, generator=generator, **options)
    victims = model_diff.describe(victim, images, twins=twins)
    return lambda model: model_diff.compare(
        victims, model_diff.describe(model, images, twins=twins)
    )


def _ipguard(
    victim: nn.Module,
    images: Tensor,
    baseline: float | Tensor,
    generator: torch.Generator,
    options: Options,
) -> Compare:
    found = ipguard.boundary_points(victim, images, generator=generator, **options)
    # Points that did not reach a boundary say nothing about it.
    points = found.points[found.reached] if bool(found.reached.any()) else found.points
    victims = ipguard.describe(victim, points)
    return lambda model: ipguard.compare(victims, ipguard.describe(model, points))


MEANS: Mapping[str, MeanMethod] = {
    "labels": MeanMethod(
        lambda model, images, _: label_agreement.describe(model, images),
        label_agreement.per_reference,
        any_labels=False,
    ),
    "jsd": _divergence("jensen_shannon"),
    "kl": _divergence("kullback_leibler"),
    "saliency": _attribution("saliency"),
    "gradient_input": _attribution("gradient_times_input"),
    "gradient": _attribution("gradient"),
}
_FEATURES = {"features": penultimate_features}
WHOLES: Mapping[str, WholeMethod] = {
    "sac": WholeMethod(_same_inputs(sac)),
    "sac_labels": WholeMethod(_same_inputs(sac), options={"answer": "labels"}),
    "cka": WholeMethod(_same_inputs(cka), options=_FEATURES),
    "rsa": WholeMethod(_same_inputs(rsa), options=_FEATURES),
    "dds": WholeMethod(_same_inputs(dds), options=_FEATURES),
    "depara": WholeMethod(_same_inputs(depara)),
    # 128 samples of 49 squares; the paper's 1000 are for superpixels of photographs.
    "zest": WholeMethod(_zest, options={"n_samples": 128}),
    "model_diff": WholeMethod(_model_diff),
    # The paper sets the margin for each data set; steps of 0.01 reach it on small images.
    "ipguard": WholeMethod(
        _ipguard, any_labels=False, options={"margin": 1.0, "step_size": 0.01, "n_steps": 300}
    ),
}
