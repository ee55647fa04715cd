"""Options that several verbs share: which references, how fields are computed, where to."""

import functools
import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import click
import torch
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from modelgif.cli.references import find_references
from modelgif.experiment.seeding import resolve_device
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from modelgif.loading.schemes import all_schemes
from modelgif.loading.trust import TRUSTED
from modelgif.references.references import References

Option = Callable[[Callable[..., None]], Callable[..., None]]


@dataclass(frozen=True)
class Settings:
    """How models are described, as the options of the command line say.

    Attributes:
        references: where they come from, see `modelgif.cli.references.find_references`; None when
            no option said so.
        count: how many references at most.
        size: pixels per side, or None.
        channels: 1 or 3, or None for the images' own.
        seed: of the draw of references.
        steps: nodes on the path.
        baseline: the start of the path, one number for every pixel or ``mean``, the mean of the
            references per channel.
        target: what is differentiated.
        device: where.
        precision: in which.
        download: whether trained weights may be fetched.
        trust: what may run code, beside `modelgif.loading.trust.TRUSTED`.
    """

    references: str | None
    count: int
    size: int | None
    channels: int | None
    seed: int
    steps: int
    baseline: str
    target: str
    device: str
    precision: Literal["float32", "float64"]
    download: bool
    trust: tuple[str, ...]

    def find_references(self) -> References:
        """Returns the references.

        Raises:
            click.UsageError: when none were given.
        """
        if self.references is None:
            raise click.UsageError("Missing option '--references'.")
        return find_references(
            self.references,
            count=self.count,
            size=self.size,
            channels=self.channels,
            seed=self.seed,
        )

    def load(self, address: str) -> Preprocessed:
        """Returns the model at an address or a path."""
        return load_model(
            address,
            device=resolve_device(self.device),
            dtype=self._dtype,
            download=self.download,
            trust=(*TRUSTED, *self.trust),
        )

    def field_options(self, references: References) -> dict[str, Any]:
        """Returns the arguments of `modelgif.gradient_field`."""
        mean = references.images.double().mean((0, 2, 3), keepdim=True).float()
        return {
            "target": self.target,
            "baseline": mean if self.baseline == "mean" else float(self.baseline),
            "n_steps": self.steps,
            "device": resolve_device(self.device),
            "dtype": self._dtype,
        }

    @property
    def _dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)


def complete_files(_context: object, _parameter: object, incomplete: str) -> list[CompletionItem]:
    """Lets the shell complete what may be the path of a file or folder."""
    return [CompletionItem(incomplete, type="file")]


def complete_models(context: object, parameter: object, incomplete: str) -> list[CompletionItem]:
    """Lets the shell complete a path, or an example address where no file begins like that."""
    if not glob.glob(f"{glob.escape(incomplete)}*"):
        known = [scheme for scheme in all_schemes() if scheme.example.startswith(incomplete)]
        if known:
            return [CompletionItem(scheme.example, help=scheme.summary) for scheme in known]
    return complete_files(context, parameter, incomplete)


LOADING = [
    click.option("--download", is_flag=True, help="Let libraries fetch missing trained weights."),
    click.option(
        "--trust",
        multiple=True,
        metavar="ORIGIN",
        help="Let code of this origin run: a module that cards may call, hub:OWNER/REPO, or an "
        "export: address as typed.",
    ),
]


def with_options(options: Sequence[Option]) -> Option:
    """Returns a decorator that adds `options`, shown in their order."""
    return lambda verb: functools.reduce(lambda done, option: option(done), options[::-1], verb)


def describing(verb: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of `Settings` to a verb, which takes them as `settings`."""
    names = [entry.name for entry in fields(Settings)]

    @functools.wraps(verb)
    def with_settings(**options: Any) -> None:
        chosen = {name: options.pop(name) for name in names}
        verb(settings=Settings(**chosen), **options)

    return with_options(_OPTIONS)(with_settings)


def refuse_settings(reason: str) -> None:
    """Refuses options of `Settings` where they would have no effect.

    Raises:
        click.UsageError: with the reason, when one was given.
    """
    context = click.get_current_context()
    given = [
        f"--{entry.name}"
        for entry in fields(Settings)
        if context.get_parameter_source(entry.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{reason}: leave out {', '.join(given)}.")


def _checked_baseline(_context: object, _parameter: object, value: str) -> str:
    if value != "mean":
        try:
            float(value)
        except ValueError:
            raise click.BadParameter(f"expected a number or mean, got {value!r}.") from None
    return value


_OPTIONS = [
    click.option(
        "--references",
        metavar="SOURCE",
        shell_complete=complete_files,
        help="Where models are described: a folder of images, a .safetensors file of references, "
        "or digits, photos, fashion_mnist.",
    ),
    click.option(
        "-n",
        "--count",
        type=click.IntRange(min=1),
        default=64,
        show_default=True,
        help="How many references at most.",
    ),
    click.option(
        "--size", type=click.IntRange(min=1), help="Pixels per side; a folder of images needs it."
    ),
    click.option(
        "--channels", type=click.IntRange(1, 3), help="1 (grey) or 3; the images' own by default."
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the references' draw."),
    click.option(
        "--steps",
        type=click.IntRange(min=1),
        default=50,
        show_default=True,
        help="Nodes on the path to each reference; 20 move distances by a few thousandths.",
    ),
    click.option(
        "--baseline",
        default="mean",
        show_default=True,
        callback=_checked_baseline,
        help="Where paths start: mean (of the references, per channel) or one number.",
    ),
    click.option(
        "--target", default="predicted_class", show_default=True, help="What is differentiated."
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="auto is CUDA where there is a device.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["float32", "float64"]),
        default="float32",
        show_default=True,
        help="Of the computation.",
    ),
    *LOADING,
]
