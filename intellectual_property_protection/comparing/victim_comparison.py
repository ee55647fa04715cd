"""The bench: compares one model after the other with the victim, at the same candidates."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intellectual_property_protection.comparing.candidates import first_of
from intellectual_property_protection.comparing.comparison_file import Comparison, digest
from intellectual_property_protection.comparing.methods import FIELD_STEPS, MEANS, WHOLES, Options
from intellectual_property_protection.config import IPPConfig
from modelgif.distances.distance import ZeroCellWarning, distance_per_reference, zero_cells
from modelgif.experiment.seeding import seeded_generator
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.checkpoint import weights_sha256
from modelgif.references.references import References
from modelgif.storage.field_store import FieldStore

# How many of a model's cells have no direction, kept beside its distances.
ZERO_CELLS = "zero_cells"
# References described together, so that memory does not grow with their number.
_BLOCK = 128


class Bench:
    """What every comparison with the victim needs.

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
        # The victim's descriptions, made when first asked for.
        self._victims: dict[str, Any] = {}

    def compare(self, model: nn.Module, found: Comparison, *, same_labels: bool) -> None:
        """Adds to `found` what is configured and not in it yet.

        Args:
            model: on the victim's device.
            found: what is known of this model; numbers of other weights, candidates or settings
                are replaced.
            same_labels: whether its classes are the victim's; methods that compare answers class
                by class are left out otherwise.
        """
        with warnings.catch_warnings():
            # Cells without direction are counted, and maps without are rare and at distance 1.
            warnings.simplefilter("ignore", ZeroCellWarning)
            self._compare(model, found, same_labels)

    def _compare(self, model: nn.Module, found: Comparison, same_labels: bool) -> None:
        evaluation = self.config.evaluation
        base = (*self._base, weights_sha256(model))
        self._compare_fields(model, found, base)
        for name in evaluation.means:
            if name in MEANS and (same_labels or MEANS[name].any_labels):
                self._compare_mean(name, model, found, base)
        for name in evaluation.wholes:
            if same_labels or WHOLES[name].any_labels:
                self._compare_whole(name, model, found, base)

    def _compare_fields(self, model: nn.Module, found: Comparison, base: Sequence[object]) -> None:
        """Adds the distances of fields, over all steps or some."""
        config = self.config.field
        wanted = [name for name in self.config.evaluation.means if name in FIELD_STEPS]
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

    def _compare_mean(
        self, name: str, model: nn.Module, found: Comparison, base: Sequence[object]
    ) -> None:
        """Adds the distances of a method that compares references one by one."""
        method = MEANS[name]
        made_from = digest(base, name)
        if found.holds(name, made_from):
            return
        if name not in self._victims:
            self._victims[name] = [
                method.describe(self.victim, self._images(rows), self.baseline)
                for rows in self._blocks()
            ]
        parts = [
            method.per_reference(theirs, method.describe(model, self._images(rows), self.baseline))
            for theirs, rows in zip(self._victims[name], self._blocks(), strict=True)
        ]
        found.put(name, torch.cat(parts).double().cpu().numpy(), made_from)

    def _compare_whole(
        self, name: str, model: nn.Module, found: Comparison, base: Sequence[object]
    ) -> None:
        """Adds the distances of a method that compares all references of a source together."""
        references, method = self.config.references, WHOLES[name]
        for source in self.config.evaluation.whole_sources:
            key = f"{name}@{source}"
            made_from = digest(base, key, references.count, _described(method.options))
            if source not in references.sources or found.holds(key, made_from):
                continue
            if key not in self._victims:
                images = first_of(self.candidates, source, references.count).images.to(self._like)
                generator = seeded_generator(self.config.seed, key)
                self._victims[key] = method.prepare(
                    self.victim, images, self.baseline, generator, method.options
                )
            found.put(key, self._victims[key](model), made_from)

    @property
    def _like(self) -> Tensor:
        """A tensor where models are, and in their precision."""
        return next(self.victim.parameters())

    def _images(self, rows: slice) -> Tensor:
        return self.candidates.images[rows].to(self._like)

    def _blocks(self) -> list[slice]:
        count = len(self.candidates)
        return [slice(i, min(i + _BLOCK, count)) for i in range(0, count, _BLOCK)]


def _described(options: Options) -> dict[str, str]:
    """The options of a method in words that are the same in every process."""
    return {name: getattr(value, "__name__", repr(value)) for name, value in options.items()}
