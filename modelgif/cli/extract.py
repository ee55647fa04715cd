"""``modelgif extract``: describe models once, to compare them later."""

from functools import partial
from pathlib import Path

import click

from modelgif.cli.options import Settings, complete_models, describing
from modelgif.cli.printing import Table, model_names, print_result


@click.command(
    epilog="""\b
    modelgif extract mine.safetensors theirs.safetensors --references photos --size 64 -o fields
    modelgif distance fields/*.h5"""
)
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models
)
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the field stores; created if missing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@describing
def extract(models: tuple[str, ...], folder: Path, as_json: bool, *, settings: Settings) -> None:
    """Write the gradient field of each MODEL to a folder, one HDF5 file per model.

    Files that were made with the same weights and settings are kept. The references are written
    beside the fields as references.safetensors.
    """
    from modelgif.references.file import write_references
    from modelgif.zoo.extract import extract as extract_fields

    references = settings.find_references()
    names = model_names(models)
    write_references(folder / "references.safetensors", references)
    options = settings.field_options(references)
    done = extract_fields(
        {name: partial(settings.load, a) for name, a in zip(names, models, strict=True)},
        references,
        folder,
        **options,
    )
    rows = [
        {"model": address, "field": str(folder / f"{name}.h5"), "made": name not in done.skipped}
        for name, address in zip(names, models, strict=True)
        if name in done.stores
    ]
    print_result({"fields": Table(rows)}, as_json=as_json)
    done.raise_for_failures()
