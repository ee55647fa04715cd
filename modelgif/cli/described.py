"""What the verbs that compare models share: every model described at the references."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from modelgif.cli.options import Settings
from modelgif.cli.printing import model_names
from modelgif.distances.pairs import ZeroCellWarning
from modelgif.fields.model import scores
from modelgif.loading.address import as_address, parse_address
from modelgif.loading.preprocessing import Preprocessed
from modelgif.methods import label_agreement
from modelgif.references.references import References
from modelgif.trial.architecture import architecture_of
from modelgif.zoo.stream import StreamedDistances, stream_distances

# A field with a larger share of zero cells describes nothing.
MOST_ZERO = 0.5


@dataclass(frozen=True, eq=False)
class Described:
    """Models described at the same references.

    Attributes:
        references: the N reference points.
        fields: distances of all pairs of fields, and of each model to the first per reference.
        labels: the class ``[N]`` that each model assigns to the references, by name.
        n_classes: the number of classes of each model.
        architectures: an identifier of each model's architecture, see `architecture_of`.
        n_cells: number of cells of each field.
        notes: what a reader must know, such as that references were resampled.
    """

    references: References
    fields: StreamedDistances
    labels: dict[str, Tensor]
    n_classes: dict[str, int]
    architectures: dict[str, str]
    n_cells: int
    notes: list[str]

    @property
    def names(self) -> list[str]:
        """The models; the others are compared with the first."""
        return list(self.labels)

    def field_distances(self, name: str) -> Tensor:
        """Returns the distance to the first model at each reference, ``[N]``."""
        assert self.fields.per_reference is not None
        return self.fields.per_reference[self.names.index(name)]

    def field_evidence(self, name: str) -> Tensor:
        """Returns `field_distances`, or NaN throughout for a model most of whose cells are zero.

        Such a model is far from all others because its field is missing, which makes it neither
        derived nor independent.
        """
        distances = self.field_distances(name)
        zeros = self.fields.zero_cells[self.names.index(name)].item()
        if zeros > MOST_ZERO * self.n_cells:
            return torch.full_like(distances, torch.nan)
        return distances

    def label_disagreement(self, name: str) -> Tensor:
        """Returns 1 where the first model predicts another class, ``[N]``, or NaN throughout.

        NaN is for a model with another number of classes, whose labels cannot be compared.
        """
        first = self.names[0]
        if self.n_classes[name] != self.n_classes[first]:
            return torch.full((len(self.references),), torch.nan, dtype=torch.float64)
        return label_agreement.per_reference(self.labels[first], self.labels[name])


def describe(addresses: Sequence[str], settings: Settings, *, progress: bool = True) -> Described:
    """Returns the models at `addresses`, described at the references of `settings`.

    Each model is loaded once: its labels are computed when `stream_distances` asks for it.
    """
    references = settings.find_references()
    names = model_names(addresses)
    labels, n_classes, architectures, notes = {}, {}, {}, []

    def load(name: str, address: str) -> Preprocessed:
        model = settings.load(address)
        architectures[name] = architecture_of(model)
        with _named(name):
            labels[name] = label_agreement.describe(model, references.images)
            n_classes[name] = count_classes(model, references.images[:1])
        if resampled := model.resampling(*references.images.shape[-2:]):
            notes.append(f"{name}: references of {resampled}.")
        return model

    refuse_missing_files(addresses, settings)
    with warnings.catch_warnings():
        # The notes below say it.
        warnings.simplefilter("ignore", ZeroCellWarning)
        fields = stream_distances(
            {name: partial(load, name, a) for name, a in zip(names, addresses, strict=True)},
            references,
            against=names[0],
            progress=progress,
            **settings.field_options(references),
        )
    n_cells = len(references) * settings.steps
    for name, count in zip(names, fields.zero_cells.tolist(), strict=True):
        if count:
            so = " Its field is not used as evidence." if count > MOST_ZERO * n_cells else ""
            notes.append(
                f"{name}: {count} of {n_cells} cells of the field are zero, and say nothing about "
                f"its function.{so}"
            )
    return Described(references, fields, labels, n_classes, architectures, n_cells, notes)


def refuse_missing_files(addresses: Sequence[str], settings: Settings) -> None:
    """Raises what loading raises for the first file that is missing, before any model is loaded."""
    for address in addresses:
        parsed = parse_address(as_address(address))
        if parsed.scheme == "file" and not Path(parsed.name).exists():
            settings.load(address)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the model's name before the message of an error.

    Raises:
        ValueError: instead of any error that a model of another kind or size may raise.
    """
    try:
        yield
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{name}: {error}") from error


@torch.no_grad()
def count_classes(model: Preprocessed, image: Tensor) -> int:
    """Returns how many scores a classifier gives an image ``[1, C, H, W]``."""
    like = next(model.parameters(), image)
    return scores(model(image.to(like)), 1).shape[1]
