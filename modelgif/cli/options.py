"""Options that several verbs share: which references, how fields are computed, on which device.

Declaring them imports neither torch nor pandas, so that help and completion answer at once.
"""

import functools
import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from modelgif.loading.preprocessing import Preprocessed
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
        seed: for sampling the references.
        steps: nodes on the path.
        baseline: the start of the path, one number for every pixel or ``mean``, the mean of the
            references per channel.
        target: what is differentiated.
        device: where.
        precision: dtype of the computation.
        download: whether trained weights may be downloaded.
        trust: origins whose code may run, beside `modelgif.loading.trust.TRUSTED`.
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

    def find_references(self) -> "References":
        """Returns the references.

        Raises:
            click.UsageError: when none were given.
        """
        if self.references is None:
            raise click.UsageError("Missing option '--references'.")
        from modelgif.cli.references import find_references

        return find_references(
            self.references,
            count=self.count,
            size=self.size,
            channels=self.channels,
            seed=self.seed,
        )

    def load(self, address: str) -> "Preprocessed":
        """Returns the model at an address or a path."""
        return load(
            address,
            device=self.device,
            precision=self.precision,
            download=self.download,
            trust=self.trust,
        )

    def field_options(self, references: "References") -> dict[str, Any]:
        """Returns the arguments of `modelgif.gradient_field`."""
        import torch

        from modelgif.experiment.seeding import resolve_device

        mean = references.images.double().mean((0, 2, 3), keepdim=True).float()
        return {
            "target": self.target,
            "baseline": mean if self.baseline == "mean" else float(self.baseline),
            "n_steps": self.steps,
            "device": resolve_device(self.device),
            "dtype": getattr(torch, self.precision),
        }


def load(
    address: str,
    *,
    device: str,
    download: bool,
    trust: Sequence[str],
    precision: Literal["float32", "float64"] = "float32",
) -> "Preprocessed":
    """Returns the model at an address or a path, as the options say."""
    import torch

    from modelgif.experiment.seeding import resolve_device
    from modelgif.loading.load import load_model
    from modelgif.loading.trust import TRUSTED

    return load_model(
        address,
        device=resolve_device(device),
        dtype=getattr(torch, precision),
        download=download,
        trust=(*TRUSTED, *trust),
    )


def complete_files(_context: object, _parameter: object, incomplete: str) -> list[CompletionItem]:
    """Lets the shell complete what may be the path of a file or folder."""
    return [CompletionItem(incomplete, type="file")]


def complete_models(context: object, parameter: object, incomplete: str) -> list[CompletionItem]:
    """Lets the shell complete a path, or an example address where no file begins like that."""
    from modelgif.loading.schemes import all_schemes

    if not glob.glob(f"{glob.escape(incomplete)}*"):
        known = [scheme for scheme in all_schemes() if scheme.example.startswith(incomplete)]
        if known:
            return [CompletionItem(scheme.example, help=scheme.summary) for scheme in known]
    return complete_files(context, parameter, incomplete)


LOADING = [
    click.option(
        "--download", is_flag=True, help="Let libraries download missing pretrained weights."
    ),
    click.option(
        "--trust",
        multiple=True,
        metavar="ORIGIN",
        help="Allow code of this origin to run: a Python module named by a card, hub:OWNER/REPO, "
        "or an export: address as given.",
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
        help="Images at which models are described: a folder of images, a .safetensors file of "
        "references, or one of digits, photos, fashion_mnist.",
    ),
    click.option(
        "-n",
        "--count",
        type=click.IntRange(min=1),
        default=64,
        show_default=True,
        help="Number of references, at most.",
    ),
    click.option(
        "--size",
        type=click.IntRange(min=1),
        help="Pixels per side; required for a folder of images.",
    ),
    click.option(
        "--channels", type=click.IntRange(1, 3), help="1 (grey) or 3; by default as in the images."
    ),
    click.option(
        "--seed",
        type=int,
        default=0,
        show_default=True,
        help="Seed for sampling the references.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(min=1),
        default=50,
        show_default=True,
        help="Quadrature nodes on the path to each reference; 20 instead of 50 change distances by "
        "a few thousandths.",
    ),
    click.option(
        "--baseline",
        default="mean",
        show_default=True,
        callback=_checked_baseline,
        help="Start of the paths: mean (of the references, per channel) or one number.",
    ),
    click.option(
        "--target",
        default="class_contrast",
        show_default=True,
        help="Scalar of the output that is differentiated.",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="auto: CUDA if available, otherwise the CPU.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["float32", "float64"]),
        default="float32",
        show_default=True,
        help="Floating-point type of the computation.",
    ),
    *LOADING,
]
