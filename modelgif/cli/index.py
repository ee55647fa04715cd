"""``modelgif index``: fingerprints of many models, and the nearest of them to a given one."""

from pathlib import Path

import click

from modelgif.cli.options import Settings, complete_models, describing
from modelgif.cli.printing import Table, model_names, print_result

_FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def index() -> None:
    """Keep fingerprints of models in a FOLDER, 20 KiB each, and search among them."""


@index.command(
    epilog="""\b
    modelgif index add known zoo/*.safetensors --references photos --size 64"""
)
@_FOLDER
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@describing
def add(folder: Path, models: tuple[str, ...], as_json: bool, *, settings: Settings) -> None:
    """Add the fingerprints of MODELs to FOLDER, which is created if missing.

    All models of an index are described at the same references, which are saved in it as
    references.safetensors.
    """
    from tqdm import tqdm

    from modelgif.references.file import write_references
    from modelgif.sketches.index import SketchIndex
    from modelgif.sketches.sketcher import sketch_model

    references = settings.find_references()
    names = model_names(models)
    known = SketchIndex(folder)
    pairs = tqdm(list(zip(names, models, strict=True)), unit="model", disable=as_json)
    options = settings.field_options(references)
    sketches = {
        name: sketch_model(settings.load(address), references, name=name, **options)
        for name, address in pairs
    }
    known.add(sketches)
    write_references(folder / "references.safetensors", references)
    print_result({"added": len(sketches), "models": len(known)}, as_json=as_json)


@index.command(
    epilog="""\b
    modelgif index search known suspect.safetensors --references known/references.safetensors"""
)
@_FOLDER
@click.argument("model", metavar="MODEL", shell_complete=complete_models)
@click.option(
    "-k",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of models to list.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@describing
def search(folder: Path, model: str, k: int, as_json: bool, *, settings: Settings) -> None:
    """List the models of FOLDER that are nearest to MODEL, with their estimated distances.

    Give the settings with which the index was made; others are refused, naming what differs.
    """
    from modelgif.sketches.index import SketchIndex
    from modelgif.sketches.sketcher import sketch_model

    references = settings.find_references()
    (name,) = model_names([model])
    options = settings.field_options(references)
    sketch = sketch_model(settings.load(model), references, name=name, **options)
    found = SketchIndex(folder).search(sketch, k)
    nearest = [
        {"model": known, "distance": distance}
        for known, distance in zip(found.names, found.distances.tolist(), strict=True)
    ]
    print_result({"nearest": Table(nearest)}, as_json=as_json)
