"""Compares one model after the other with the victim, at the same candidates, by every method."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intellectual_property_protection.comparing.candidates import first_of
from intellectual_property_protection.comparing.comparison_file import Comparison, digest
from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.methods import FIELD_STEPS, PER_REFERENCE, SETS
from modelgif.distances.distance import ZeroCellWarning, distance_per_reference, zero_cells
from modelgif.experiment.seeding import seeded_generator
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.checkpoint import weights_sha256
from modelgif.methods import Method
from modelgif.references.references import References
from modelgif.storage.field_store import FieldStore

# How many of a model's cells have no direction, kept beside its distances.
ZERO_CELLS = "zero_cells"
# References described together, so that memory does not grow with their number.
_BLOCK = 128


class VictimComparison:
    """All that a comparison of a model with the victim needs, made once for all models.

    Args:
        config: which methods, and the settings of fields.
        candidates: where models are compared.
        baseline: of the fields.
        victim: the model, on the device where all are compared.
        victims_field: path of its field store at all candidates.
    """

    def __init__(
        self,
        config: IPPConfig,
        candidates: References,
        baseline: float | Tensor,
        victim: nn.Module,
        victims_field: Path,
    ) -> None:
        self.config = config
        self.candidates = candidates
        self.baseline = baseline
        self.victim = victim
        self.victims_field = victims_field
        # What every number depends on, beside the model's weights and the method.
        self._base = (
            weights_sha256(victim),
            candidates.sha256(),
            config.field.baseline,
            config.data.model_dump(mode="json", include={"name", "size"}),
            config.seed,
        )
        # The victim's descriptions, made when first asked for; those of sets with the arguments.
        self._victims: dict[str, Any] = {}

    def compare_with_victim(
        self, model: nn.Module, found: Comparison, *, same_classes: bool, same_architecture: bool
    ) -> None:
        """Adds to `found` what is configured and not in it yet.

        Args:
            model: on the victim's device.
            found: what is known of this model; numbers of other weights, candidates or settings
                are replaced.
            same_classes: whether its classes are the victim's; methods that need this are left
                out otherwise.
            same_architecture: whether its architecture is the victim's, as `same_classes`.
        """

        def can_compare(method: Method) -> bool:
            return (same_classes or not method.same_classes) and (
                same_architecture or not method.same_architecture
            )

        evaluation = self.config.evaluation
        base = (*self._base, weights_sha256(model))
        with warnings.catch_warnings():
            # Cells without direction are counted, and maps without are rare and at distance 1.
            warnings.simplefilter("ignore", ZeroCellWarning)
            self._compare_fields(model, found, base)
            for name in evaluation.per_reference_methods:
                if name in PER_REFERENCE and can_compare(PER_REFERENCE[name]):
                    self._compare_per_reference(PER_REFERENCE[name], model, found, base)
            for name in evaluation.set_methods:
                if can_compare(SETS[name]):
                    self._compare_sets(SETS[name], model, found, base)

    def _compare_fields(self, model: nn.Module, found: Comparison, base: Sequence[object]) -> None:
        """Adds the distances of fields, over all steps or some."""
        config = self.config.field
        wanted = [
            name for name in self.config.evaluation.per_reference_methods if name in FIELD_STEPS
        ]
        made_from = digest(base, "field", config.model_dump(mode="json"))
        if all(found.holds(name, made_from) for name in [*wanted, ZERO_CELLS]):
            return
        options = config.options()
        del options["storage"]
        n_zero, parts = 0, {name: [] for name in wanted}
        with FieldStore(self.victims_field) as store:
            for rows in self._blocks():
                field = gradient_field(
                    model,
                    self.candidates.images[rows],
                    target=config.target,
                    baseline=self.baseline,
                    **options,
                )
                victims = store[rows].to(field)
                n_zero += zero_cells(field)
                for name in wanted:
                    steps = FIELD_STEPS[name](field.shape[1])
                    each = distance_per_reference(victims[:, steps], field[:, steps])
                    parts[name].append(each.cpu())
        for name in wanted:
            found.put(name, torch.cat(parts[name]).numpy(), made_from)
        found.put(ZERO_CELLS, float(n_zero), made_from)

    def _compare_per_reference(
        self, method: Method, model: nn.Module, found: Comparison, base: Sequence[object]
    ) -> None:
        """Adds the distances of a method that compares references one by one."""
        options = [_described(method.options)] if method.options else []
        made_from = digest(base, method.name, *options)
        if found.holds(method.name, made_from):
            return
        if method.name not in self._victims:
            self._victims[method.name] = [
                method.describe(self.victim, **self._arguments(method, self._images(rows)))
                for rows in self._blocks()
            ]
        parts = [
            method.distances(
                victims, method.describe(model, **self._arguments(method, self._images(rows)))
            )
            for victims, rows in zip(self._victims[method.name], self._blocks(), strict=True)
        ]
        found.put(method.name, torch.cat(parts).double().cpu().numpy(), made_from)

    def _compare_sets(
        self, method: Method, model: nn.Module, found: Comparison, base: Sequence[object]
    ) -> None:
        """Adds the distances of a method that compares all references of a source together."""
        references = self.config.references
        for source in self.config.evaluation.set_sources:
            key = f"{method.name}@{source}"
            made_from = digest(base, key, references.count, _described(method.options))
            if source not in references.sources or found.holds(key, made_from):
                continue
            if key not in self._victims:
                images = first_of(self.candidates, source, references.count).images.to(self._like)
                given = self._arguments(method, images, key)
                self._victims[key] = given, method.describe(self.victim, **given)
            given, victims = self._victims[key]
            found.put(key, method.distance(victims, method.describe(model, **given)), made_from)

    def _arguments(self, method: Method, images: Tensor, *key: str) -> dict[str, Any]:
        """The arguments of a method's description, the same for all models."""
        generator = seeded_generator(self.config.seed, *key)
        return method.arguments(self.victim, images, baseline=self.baseline, generator=generator)

    @property
    def _like(self) -> Tensor:
        """A tensor where models are, and in their precision."""
        return next(self.victim.parameters())

    def _images(self, rows: slice) -> Tensor:
        return self.candidates.images[rows].to(self._like)

    def _blocks(self) -> list[slice]:
        count = len(self.candidates)
        return [slice(i, min(i + _BLOCK, count)) for i in range(0, count, _BLOCK)]


def _described(options: Mapping[str, Any]) -> dict[str, str]:
    """The options of a method in words that are the same in every process."""
    return {name: getattr(value, "__name__", repr(value)) for name, value in options.items()}
