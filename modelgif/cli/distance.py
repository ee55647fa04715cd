"""``modelgif distance``: how far apart are all these models?"""

from pathlib import Path

import click
import pandas as pd

from modelgif.cli.described import describe
from modelgif.cli.options import Settings, describing
from modelgif.cli.printing import print_result
from modelgif.experiment.figure import heat_map, save_figure
from modelgif.experiment.table import write_csv


@click.command(
    epilog="""\b
    modelgif distance zoo/*.safetensors --references photos --size 64 -o distances.csv"""
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the matrix to this CSV file.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the heat map to this PNG file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@describing
def distance(
    models: tuple[str, ...],
    output: Path | None,
    figure: Path | None,
    as_json: bool,
    *,
    settings: Settings,
) -> None:
    """Measure the distances of all pairs of MODELs: 0 for one function, near 1 for strangers."""
    if len(models) < 2:
        raise click.UsageError("give at least two models.")
    found = describe(models, settings, progress=not as_json)
    matrix = found.fields.matrix.numpy()
    table = pd.DataFrame(matrix, columns=pd.Index(found.names))
    table.insert(0, "model", found.names)
    if output is not None:
        write_csv(output, table)
    if figure is not None:
        save_figure(heat_map(matrix, found.names), figure)
    print_result({"distances": table, "notes": found.notes}, as_json=as_json)
