"""``modelgif distance``: how far apart are all these models?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelgif.cli.extras import require
from modelgif.cli.options import Settings, complete_models, describing, refuse_settings
from modelgif.cli.printing import Table, model_names, print_result

if TYPE_CHECKING:
    from modelgif.reporting.distance_matrix import DistanceMatrix


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
    help="Draw the matrix as a heat map to this PNG file.",
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
    """Measure the distances of all pairs of MODELs: 0 for the same function, near 1 for unrelated.

    Field stores (.h5), written by modelgif extract, may be given instead of models. They record how
    they were made, and no model is described again.
    """
    if len(models) < 2:
        raise click.UsageError("give at least two models.")
    if output is not None or figure is not None:
        require("report")
    matrix, notes = _distances(models, settings, progress=not as_json)
    rows = [
        {"model": name} | dict(zip(matrix.names, distances, strict=True))
        for name, distances in zip(matrix.names, matrix.values.tolist(), strict=True)
    ]
    if output is not None:
        from modelgif.reporting.table import write_csv

        write_csv(output, matrix.to_frame().reset_index())
    if figure is not None:
        from modelgif.reporting.figure import save_figure

        save_figure(matrix.plot(), figure)
    print_result({"distances": Table(rows), "notes": notes}, as_json=as_json)


def _distances(
    models: tuple[str, ...], settings: Settings, *, progress: bool
) -> tuple["DistanceMatrix", list[str]]:
    from modelgif.cli.described import describe
    from modelgif.reporting.distance_matrix import distance_matrix

    stored = [Path(model).suffix == ".h5" for model in models]
    if all(stored):
        refuse_settings("field stores record how they were made")
        return distance_matrix(dict(zip(model_names(models), models, strict=True))), []
    if any(stored):
        raise click.UsageError("give models, or field stores (.h5), not both.")
    described = describe(models, settings, progress=progress)
    return distance_matrix(described.fields), described.notes
