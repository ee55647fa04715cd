"""A picture of rooms beside the truth of every task.

python -m task_relatedness.rooms.contact_sheet --folder runs/rooms -o rooms.png
"""

import colorsys
from collections.abc import Callable
from itertools import combinations, product

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from modelgif.storage.atomic import whole_file
from task_relatedness.rooms.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from task_relatedness.rooms.files import RoomSet, read_truth, read_views
from task_relatedness.rooms.render import render_rooms
from task_relatedness.rooms.truth.manhattan import axes_of, box_corners
from task_relatedness.rooms.view import View
from task_relatedness.tasks import TASK_NAMES, TASKS

_TILE, _GAP, _HEAD = 128, 4, 34
_RED, _GREEN, _BLUE, _WHITE = (230, 60, 50), (60, 200, 80), (60, 120, 255), (255, 255, 255)


def contact_sheet(rooms: RoomSet, count: int = 6) -> Image.Image:
    """Returns a picture of the first `count` rooms, one row per room: the image, then 17 truths.

    Two curvatures are red and green; segments have colours of their own; what is not an image is
    drawn on the room's: the vanishing points as the room's axes, the layout as its box.

    Raises:
        modelgif.storage.tensor_file.SealedFileError: when rooms are missing.
    """
    columns = ("image", *TASK_NAMES)
    size = (len(columns) * (_TILE + _GAP) + _GAP, _HEAD + count * (_TILE + _GAP))
    sheet = Image.new("RGB", size, _WHITE)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, name in enumerate(columns):
        at = (_GAP + column * (_TILE + _GAP) + _TILE // 2, _HEAD // 2)
        text = name.replace("_", "_\n", 1) if len(name) > 13 else name
        draw.multiline_text(at, text, fill=(0, 0, 0), font=font, anchor="mm", align="center")
    pairs = [
        (view, {name: values[row].numpy() for name, values in truth.items()})
        for number in rooms.numbers(count)
        for truth in [read_truth(rooms, number)]
        for row, view in enumerate(read_views(rooms, number))
    ]
    for row, (view, truth) in enumerate(pairs[:count]):
        for column, name in enumerate(columns):
            tile = _tile(name, view, truth.get(name))
            sheet.paste(tile, (_GAP + column * (_TILE + _GAP), _HEAD + row * (_TILE + _GAP)))
    return sheet


def _tile(name: str, view: View, truth: np.ndarray | None) -> Image.Image:
    if truth is None:
        return _enlarged(view.image)
    form = next(task.form for task in TASKS if task.name == name)
    if form == "image":
        return _enlarged(_PICTURES.get(name, _grey)(truth.astype(np.float64)))
    if form in ("segments", "semantic"):
        total = len(SEMANTIC_CLASSES) if form == "semantic" else 37
        return _enlarged(_colours(total)[truth % total])
    tile = _enlarged(view.image)
    draw = ImageDraw.Draw(tile)
    if name == "class_object":
        draw.rectangle((0, _TILE - 22, _TILE, _TILE), fill=(0, 0, 0))
        text = OBJECT_CLASSES[int(truth)]
        draw.text((_TILE // 2, _TILE - 11), text, _WHITE, ImageFont.load_default(15), "mm")
    elif name == "vanishing_point":
        _draw_axes(draw, truth)
    else:
        _draw_box(draw, truth, view.camera.field_of_view)
    return tile


def _draw_axes(draw: ImageDraw.ImageDraw, truth: np.ndarray) -> None:
    centre = np.full(2, _TILE / 2)
    for colour, axis in zip((_RED, _GREEN, _BLUE), axes_of(truth).T, strict=True):
        tip = centre + 0.42 * _TILE * axis[:2] * [1, -1]
        draw.line([*centre, *tip], colour, 3)
        draw.ellipse([*(tip - 4), *(tip + 4)], colour)


def _draw_box(draw: ImageDraw.ImageDraw, truth: np.ndarray, field_of_view: float) -> None:
    """The twelve edges, as far as they lie before the camera."""
    signs = np.array(list(product((-1, 1), repeat=3)))
    corners = box_corners(truth)
    for i, j in combinations(range(8), 2):
        if (signs[i] != signs[j]).sum() != 1:
            continue
        line = np.linspace(corners[i], corners[j], 200)
        line = line[line[:, 2] < -0.05]
        scale = 0.5 * _TILE / np.tan(np.radians(field_of_view) / 2)
        at = _TILE / 2 + scale * line[:, :2] / -line[:, 2:] * [1, -1]
        if len(at) > 1:
            colour = (_RED, _GREEN, _BLUE)[int(np.flatnonzero(signs[i] != signs[j])[0])]
            draw.line([tuple(point) for point in at.clip(-1e4, 1e4)], colour, 2)


def _grey(truth: np.ndarray) -> np.ndarray:
    return _bytes(truth[0])[..., None].repeat(3, axis=-1)


def _signed(truth: np.ndarray) -> np.ndarray:
    """Numbers in [-1, 1]; a missing third channel is 0."""
    padded = np.concatenate([truth, np.zeros((3 - len(truth), *truth.shape[1:]))])
    return _bytes(0.5 + 0.5 * np.moveaxis(padded, 0, -1))


_PICTURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"curvature": _signed, "normal": _signed}


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(255 * values.clip(0, 1)).astype(np.uint8)


def _colours(count: int) -> np.ndarray:
    """``[count, 3]`` uint8, neighbours far apart."""
    hues = [(0.618 * i) % 1.0 for i in range(count)]
    levels = [(0.9, 0.55, 0.75)[i % 3] for i in range(count)]
    colours = [colorsys.hsv_to_rgb(h, 0.35 + 0.4 * v, v) for h, v in zip(hues, levels, strict=True)]
    return _bytes(np.array(colours))


def _enlarged(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.NEAREST)


@click.command(help="Draw rooms beside the truth of every task; missing rooms are rendered.")
@click.option("--folder", default="runs/rooms", show_default=True, help="Where rooms are.")
@click.option("--count", type=click.IntRange(1), default=6, show_default=True, help="How many.")
@click.option(
    "--size", type=click.IntRange(16), default=64, show_default=True, help="Pixels a side."
)
@click.option(
    "--samples", type=click.IntRange(1), default=64, show_default=True, help="Paths a pixel."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the rooms.")
@click.option("--output", "-o", required=True, help="PNG file to write.")
def main(folder: str, count: int, size: int, samples: int, seed: int, output: str) -> None:
    """Draws the sheet that the command line asks for."""
    rooms = RoomSet(folder, seed, size, samples)
    try:
        render_rooms(rooms, count)
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    with whole_file(output) as part:
        contact_sheet(rooms, count).save(part, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
