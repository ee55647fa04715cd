"""``modelgif independents``: train the models that a verdict compares a suspect with."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelgif.cli.options import LOADING, complete_files, complete_models, with_options
from modelgif.cli.printing import Table, print_result

if TYPE_CHECKING:
    from modelgif.data.image_data import ImageData
    from modelgif.experiment.independents import Estimate, Independents
    from modelgif.experiment.starting_network import StartingNetwork


@click.command(
    epilog="""\b
    modelgif independents --like theirs.safetensors --images my_images --size 64 -o honest
    modelgif independents --from 'torchvision:resnet18?weights=DEFAULT' --images my_images \\
        --size 224 -o honest epochs=5 learning_rate=0.0002""",
)
@click.option(
    "--like",
    "suspect",
    metavar="MODEL",
    shell_complete=complete_models,
    help="The suspect, whose architecture the models get.",
)
@click.option(
    "--from",
    "ancestor",
    metavar="MODEL",
    shell_complete=complete_models,
    help="The public model that victim and suspect may both come from, to be fine-tuned; never the "
    "victim. Without it, training starts from random weights.",
)
@click.option(
    "--images",
    "source",
    required=True,
    metavar="FOLDER",
    shell_complete=complete_files,
    help="Images to learn: one folder per class; or digits, photos, fashion_mnist. A fifth of a "
    "folder is held out to measure accuracy, unless it has the folders train and test.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of the models, made when missing.",
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=1),
    default=19,
    show_default=True,
    help="Number of models; 19 are needed to decide on one suspect at 5 %.",
)
@click.option(
    "--recipe",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML file of the training: epochs, batch_size, learning_rate, optimizer, schedule … The "
    "default is 30 epochs at 0.003, or 15 at 0.001 from an ancestor.",
)
@click.option(
    "--subset",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.8,
    show_default=True,
    help="Share of the training images that each model learns, another random part each.",
)
@click.option(
    "--size",
    type=click.IntRange(min=1),
    help="Pixels per side; required for a folder of images.",
)
@click.option(
    "--channels", type=click.IntRange(1, 3), help="1 (grey) or 3; by default as in the images."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The models' own seeds, large and distinct, are drawn from it.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: CUDA if available, otherwise the CPU.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Models trained at a time on the CPU; by default one per core.",
)
@click.option("--dry-run", is_flag=True, help="Only say what it would take.")
@with_options(LOADING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def independents(
    suspect: str | None,
    ancestor: str | None,
    source: str,
    folder: Path,
    count: int,
    recipe: Path | None,
    subset: float,
    size: int | None,
    channels: int | None,
    seed: int,
    device: str,
    workers: int | None,
    dry_run: bool,
    download: bool,
    trust: tuple[str, ...],
    as_json: bool,
    overrides: tuple[str, ...],
) -> None:
    """Train independent models for a verdict.

    They have the suspect's architecture, and nothing of the victim. The command first says how long
    training will take, from a few timed steps. If interrupted, run it again to continue. KEY=VALUE
    replaces a value of the recipe.
    """
    if suspect is None and ancestor is None:
        raise click.UsageError(
            "give --like, a model of the architecture to train, or --from, the model to fine-tune."
        )
    from modelgif.experiment.independents import estimate_independents, make_independents
    from modelgif.experiment.seeding import resolve_device
    from modelgif.experiment.starting_network import architecture_address
    from modelgif.experiment.training_recipe import load_recipe
    from modelgif.loading.address import as_address

    # What is quickly checked comes first: a folder of images takes long to read.
    training = load_recipe(recipe, overrides, fine_tune=ancestor is not None)
    for model in filter(None, (suspect, ancestor)):
        architecture_address(as_address(model))
    where = resolve_device(device)
    data = _read_images(source, size=size, channels=channels)
    start = _start(suspect, ancestor, data, download=download, trust=trust)
    options: dict[str, Any] = {
        "count": count,
        "recipe": training,
        "seed": seed,
        "subset": subset,
        "device": where,
        "workers": workers,
    }
    estimate = estimate_independents(start, data, folder, **options)
    notes = _notes(start, data, suspect is not None)
    if dry_run:
        cost = _cost(estimate, training.epochs)
        print_result(_told(start, estimate) | {"cost": cost, "notes": notes}, as_json=as_json)
        return
    # On the terminal in any case: standard output may go to a file.
    for line in (*notes, _cost(estimate, training.epochs)):
        click.echo(line, err=True)
    try:
        made = make_independents(start, data, folder, **options)
    except ExceptionGroup as group:
        failed = "\n".join(str(error) for error in group.exceptions)
        raise click.ClickException(f"{group.message}:\n{failed}") from group
    if made.untrained:
        notes.append(_untrained_note(made, len(data.test_labels)))
    following = _next_command(suspect, folder, source, size, channels)
    print_result(
        _told(start, estimate)
        | {"models": _table(made), "chance": made.chance, "notes": notes}
        | ({} if made.untrained else {"next": following}),
        as_json=as_json,
    )


def _read_images(source: str, *, size: int | None, channels: int | None) -> "ImageData":
    from dataclasses import replace

    from modelgif.cli.references import known_name, with_channels
    from modelgif.data.data import load_data

    if Path(source).is_dir():
        if size is None:
            raise click.UsageError(
                f"images of {source} may differ in size: give --size, in pixels per side."
            )
        data = replace(
            load_data("folder", root=source, size=size), name=Path(source).resolve().name
        )
    else:
        data = load_data(known_name(source), size=size)
    return replace(
        data,
        train_images=with_channels(data.train_images, channels),
        test_images=with_channels(data.test_images, channels),
    )


def _start(
    suspect: str | None,
    ancestor: str | None,
    data: "ImageData",
    *,
    download: bool,
    trust: tuple[str, ...],
) -> "StartingNetwork":
    from modelgif.experiment.starting_network import require_same_network, starting_network
    from modelgif.loading.address import as_address
    from modelgif.loading.trust import TRUSTED

    fine_tune, models = ancestor is not None, [m for m in (ancestor, suspect) if m is not None]
    starts = [
        starting_network(
            as_address(model),
            data,
            fine_tune=fine_tune and model is ancestor,
            download=download,
            trust=(*TRUSTED, *trust),
        )
        for model in models
    ]
    if len(starts) == 2:
        require_same_network(*starts)
    return starts[0]


def _told(start: "StartingNetwork", estimate: "Estimate") -> dict[str, Any]:
    return {
        "architecture": start.architecture,
        "from": start.ancestor or "random weights",
        "made": estimate.n_models,
        "skipped": estimate.n_skipped,
        "images_per_model": estimate.n_images,
        "training_steps": estimate.n_steps,
        "seconds_per_step": estimate.seconds_per_step,
        "estimated_minutes": estimate.seconds / 60,
        "megabytes": estimate.n_bytes / 1e6,
    }


def _cost(estimate: "Estimate", epochs: int) -> str:
    there = f"{estimate.n_skipped} models are there already; " if estimate.n_skipped else ""
    if not estimate.n_models:
        return f"{there}nothing is left to do."
    minutes = estimate.seconds / 60
    seconds = max(1, round(estimate.seconds))
    duration = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{seconds} s"
    return (
        f"{there}{estimate.n_models} to make: {epochs} epochs of {estimate.n_images} images each, "
        f"{estimate.n_steps:,} training steps in all, about {duration} "
        f"({1000 * estimate.seconds_per_step:.1f} ms per step, {estimate.workers} at a time) and "
        f"{estimate.n_bytes / 1e6:.1f} MB."
    )


def _notes(start: "StartingNetwork", data: "ImageData", of_suspect: bool) -> list[str]:
    notes = []
    size = start.preprocessing.get("size")
    if size is not None and list(data.train_images.shape[-2:]) != size:
        height, width = data.train_images.shape[-2:]
        notes.append(
            f"images of {height}×{width} are resampled to {size[0]}×{size[1]}, as for the given "
            "model; size=… in its address changes that."
        )
    if start.n_classes_before != start.n_classes:
        layers = ", ".join(start.replaced)
        replaced = f" {layers} was replaced, with random weights." if layers else ""
        notes.append(
            f"the given model has {start.n_classes_before} classes, the images "
            f"{start.n_classes}.{replaced}"
        )
        if of_suspect:
            notes.append(
                "models with another number of classes than the suspect count as another "
                "architecture in modelgif verdict: give images of as many classes, or use its "
                "--calibration standardised."
            )
    return notes


def _untrained_note(made: "Independents", n_tested: int) -> str:
    return (
        f"{', '.join(made.untrained)}: not to be told from chance ({made.chance:.3g}) on "
        f"{n_tested} held-out images. Untrained models are no calibration set: train more with "
        "epochs=… or another learning_rate=…, into another folder."
    )


def _table(made: "Independents") -> Table:
    return Table(
        [
            {
                "model": str(path),
                "accuracy": made.accuracies[path.stem],
                "was": "there" if path.stem in made.skipped else "made",
                "learned": path.stem not in made.untrained,
            }
            for path in made.paths
        ]
    )


def _next_command(
    suspect: str | None, folder: Path, source: str, size: int | None, channels: int | None
) -> str:
    # An address of the bare architecture is nobody's model.
    accused = suspect if suspect is not None and Path(suspect).is_file() else "SUSPECT"
    words = ["modelgif", "verdict", "--victim", "VICTIM", "--suspect", accused]
    command = f"{shlex.join(words)} --independent {shlex.quote(str(folder))}/*.safetensors"
    options = ["--references", source]
    for name, value in (("--size", size), ("--channels", channels)):
        options += [] if value is None else [name, str(value)]
    return f"{command} {shlex.join(options)}"
