"""``modelgif index``: fingerprints of many models, and which of them is nearest to this one."""

from pathlib import Path

import click
import pandas as pd
from tqdm import tqdm

from modelgif.cli.options import Settings, complete_models, describing
from modelgif.cli.printing import model_names, print_result
from modelgif.references.file import write_references
from modelgif.sketches.index import SketchIndex
from modelgif.sketches.sketcher import sketch_model

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
    """Add the fingerprints of MODELs to FOLDER, which is made when missing.

    All models of an index are described at the same references, which are kept in it as
    references.safetensors.
    """
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
    "-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many to name."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@describing
def search(folder: Path, model: str, k: int, as_json: bool, *, settings: Settings) -> None:
    """Name the models of FOLDER that are nearest to MODEL, with their estimated distances.

    Give the settings with which the index was made; others are refused, naming what differs.
    """
    references = settings.find_references()
    (name,) = model_names([model])
    options = settings.field_options(references)
    sketch = sketch_model(settings.load(model), references, name=name, **options)
    found = SketchIndex(folder).search(sketch, k)
    nearest = pd.DataFrame({"model": found.names, "distance": found.distances.tolist()})
    print_result({"nearest": nearest}, as_json=as_json)
