"""Renders rooms and takes their truth; finished files are kept.

python -m task_relatedness.rooms.render --count 2000 --size 64
"""

from collections.abc import Callable
from functools import partial

import click

from modelgif.experiment.parallel import for_each
from modelgif.storage.tensor_file import SealedFileError
from task_relatedness.rooms.files import (
    RoomSet,
    read_truth,
    read_views,
    write_truth,
    write_views,
)
from task_relatedness.rooms.scenes.trace import require_mitsuba, trace_room
from task_relatedness.rooms.truth.truths import truths


def render_rooms(rooms: RoomSet, count: int, *, workers: int | None = None) -> None:
    """Makes the files of the first `count` rooms, and their truth, that are not there and sound.

    Files hold a fixed number of rooms, so a few more may be made than asked for. The same rooms
    give the same bytes, whatever the number of workers.

    Args:
        rooms: which.
        count: how many of them.
        workers: processes; None takes one per core.

    Raises:
        ImportError: when rooms are missing and Mitsuba is not installed.
        ExceptionGroup: of what went wrong in single files, once all have had their turn.
    """
    numbers = rooms.numbers(count)
    unseen = [number for number in numbers if not _is_sound(read_views, rooms, number)]
    if unseen:
        require_mitsuba()
        todo = f"render {len(unseen)} of {len(numbers)}"
        for_each(partial(_render, rooms), unseen, title=todo, unit="file", workers=workers)
    untold = [
        number for number in numbers if number in unseen or not _is_sound(read_truth, rooms, number)
    ]
    if untold:
        todo = f"truth of {len(untold)} of {len(numbers)}"
        for_each(partial(_tell, rooms), untold, title=todo, unit="file", workers=workers)


def _render(rooms: RoomSet, number: int) -> None:
    views = [
        trace_room(rooms.seed, index, rooms.size, rooms.samples) for index in rooms.rooms(number)
    ]
    write_views(rooms, number, views)


def _tell(rooms: RoomSet, number: int) -> None:
    write_truth(rooms, number, [truths(view) for view in read_views(rooms, number)])


def _is_sound(read: Callable[[RoomSet, int], object], rooms: RoomSet, number: int) -> bool:
    try:
        read(rooms, number)
    except SealedFileError:
        return False
    return True


@click.command(help="Render rooms, and take the truth of every task from them.")
@click.option("--count", type=click.IntRange(1), required=True, help="How many rooms.")
@click.option(
    "--size", type=click.IntRange(16), default=64, show_default=True, help="Pixels a side."
)
@click.option(
    "--samples", type=click.IntRange(1), default=64, show_default=True, help="Paths a pixel."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the set of rooms."
)
@click.option("--folder", default="runs/rooms", show_default=True, help="Where they go.")
@click.option("--workers", type=click.IntRange(1), help="Processes; one per core by default.")
def main(count: int, size: int, samples: int, seed: int, folder: str, workers: int | None) -> None:
    """Renders the rooms that the command line asks for."""
    rooms = RoomSet(folder, seed, size, samples)
    try:
        render_rooms(rooms, count, workers=workers)
    except ImportError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
