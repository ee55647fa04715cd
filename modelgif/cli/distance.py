"""``modelgif distance``: how far apart are all these models?"""

from pathlib import Path

import click

from modelgif.cli.described import describe
from modelgif.cli.options import Settings, complete_models, describing, refuse_settings
from modelgif.cli.printing import model_names, print_result
from modelgif.reporting.distance_matrix import DistanceMatrix, distance_matrix
from modelgif.reporting.figure import save_figure
from modelgif.reporting.table import write_csv


@click.command(
    epilog="""\b
    modelgif distance zoo/*.safetensors --references photos --size 64 -o distances.csv
    modelgif distance fields/*.h5"""
)
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models
)
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
    """Measure the distances of all pairs of MODELs: 0 for one function, near 1 for strangers.

    Field stores (.h5), which modelgif extract writes, may stand for the models, all of them; they
    say themselves how they were made, and no model is described again.
    """
    if len(models) < 2:
        raise click.UsageError("give at least two models.")
    matrix, notes = _distances(models, settings, progress=not as_json)
    table = matrix.to_frame().reset_index()
    if output is not None:
        write_csv(output, table)
    if figure is not None:
        save_figure(matrix.plot(), figure)
    print_result({"distances": table, "notes": notes}, as_json=as_json)


def _distances(
    models: tuple[str, ...], settings: Settings, *, progress: bool
) -> tuple[DistanceMatrix, list[str]]:
    described = [Path(model).suffix == ".h5" for model in models]
    if all(described):
        refuse_settings("field stores say how they were made")
        return distance_matrix(dict(zip(model_names(models), models, strict=True))), []
    if any(described):
        raise click.UsageError("give models, or field stores (.h5), not both.")
    found = describe(models, settings, progress=progress)
    return distance_matrix(found.fields), found.notes
